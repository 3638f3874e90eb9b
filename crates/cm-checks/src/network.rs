//! The way to a container itself, whatever stands before it.

use cm_core::Exit;
use cm_engine::Container;
use cm_host::{Forward, Host};
use cm_http::Client;
use std::net::IpAddr;
use std::time::Duration;

/// A client whose requests to `name` reach the container, and the tunnel that they go
/// through, which must live as long.
///
/// # Errors
/// Why it cannot be reached, for people.
pub async fn client(
    host: &Host,
    container: &Container,
    name: &str,
    port: u16,
    limit: Duration,
) -> std::result::Result<(Client, Option<Forward>), String> {
    let address = container.addresses.first().ok_or("the container has no address of its own to ask")?;
    let said = |failure: cm_core::Failure| failure.to_string();
    if host.target().is_local() {
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not a valid address"))?;
        return Ok((Client::resolving(name, address, limit).map_err(said)?, None));
    }
    if !host.opens_tunnels().await {
        return Err(said(host.no_tunnels(Exit::VerifyUnknown)));
    }
    let tunnel = host.forward(address, port).await.map_err(said)?;
    Ok((Client::through(tunnel.socket(), limit).map_err(said)?, Some(tunnel)))
}
