//! A message's text, in the runbook's words and Slack's markup. Pure.

use crate::Message;
use crate::urls::{plain, without_user_info};
use cm_core::{Action, Document, redact};
use cm_project::Project;
use jiff::Timestamp;

/// A message names this many services; more are a number.
const NAMED: usize = 6;

/// The whole text of a message.
pub fn of(project: &Project, doc: &Document, message: &Message<'_>) -> String {
    let link = project.notify().link.as_ref().and_then(|link| link.expand().ok());
    let subject = Subject {
        project: escape(&project.name()),
        services: services(doc),
        commit: doc.commit().map(|commit| format!(" — commit {}", code(short(commit)))).unwrap_or_default(),
        seconds: seconds(doc),
        actor: escape(doc.actor()),
    };
    let link =
        link.map(|link| link.replace("{commit}", doc.commit().unwrap_or_default()).replace("{run}", doc.run_id()));
    // Its query is what somebody wrote to be sent.
    let link = link.map_or(String::new(), |link| format!("\n{}", escape(&without_user_info(&link))));
    redact(&format!("{}{link}", plain(&subject.say(message)))).into_owned()
}

struct Subject {
    project: String,
    services: String,
    commit: String,
    seconds: i64,
    actor: String,
}

impl Subject {
    fn say(&self, message: &Message<'_>) -> String {
        let Subject { project, services, commit, seconds, actor } = self;
        let back = format!("To roll back: {}", code("cm-rollback </dev/null"));
        match message {
            Message::Started => format!("Deploying {services} of {project} to production{commit}, by {actor}"),
            Message::Completed { verdict } => {
                format!(
                    "Deploy completed: {services} of {project}{commit}, {} after {seconds} s. {back}",
                    escape(verdict)
                )
            }
            Message::Failed { reason } => {
                format!("Deploy FAILED: {services} of {project}{commit}, after {seconds} s: {}. {back}", escape(reason))
            }
            Message::VerificationFailed { reason, severity } => {
                let class = severity.map_or("could not verify".to_owned(), |severity| {
                    format!("{}, {}", severity.as_str(), severity.response())
                });
                let verdict = severity.map_or("Verification UNKNOWN", |_| "Verification FAILED");
                format!(
                    "{verdict} ({class}): {services} of {project}{commit}, after {seconds} s: {}. {back}",
                    escape(reason)
                )
            }
            Message::RolledBack { to, verdict } => {
                let to = to.map_or(String::new(), |to| format!(" {}", code(short(to))));
                format!(
                    "Rolling back to previous version{to} — investigating: {services} of {project}{commit}, {} after {seconds} s. Where else to go: {}",
                    escape(verdict),
                    code("cm-rollback --list")
                )
            }
        }
    }
}

/// What is changed, or everything where the document plans nothing.
fn services(doc: &Document) -> String {
    let mut names: Vec<String> = doc
        .services()
        .iter()
        .filter(|service| service.action != Action::None)
        .map(|service| escape(&service.name))
        .collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    if names.is_empty() {
        return "everything".to_owned();
    }
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Seconds since the run began.
fn seconds(doc: &Document) -> i64 {
    let began: Option<Timestamp> = doc.started_at().parse().ok();
    began.map_or(0, |began| Timestamp::now().duration_since(began).as_secs().max(0))
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

fn code(text: &str) -> String {
    format!("`{}`", escape(text))
}

/// Slack reads these three characters as markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_project::{Severity, config::Config};
    use serde_json::json;

    fn document(services: &[&str]) -> Document {
        let mut value = Document::start("cm-record", "ada@laptop", false).as_value();
        value["commit"] = "0123456789abcdef".into();
        value["services"] = services.iter().map(|name| json!({"name": name, "host": "h", "action": "build"})).collect();
        Document::parse("cm-record", value.to_string().as_bytes()).expect("valid")
    }

    fn say(config: &str, services: &[&str], message: Message<'_>) -> String {
        let config = Config::parse("cm.toml", &format!("project = \"shop\"\n{config}")).expect("valid");
        let project = Project::of("/x".into(), "/x".into(), String::new(), config);
        of(&project, &document(services), &message)
    }

    #[test]
    fn each_message_says_what_the_communication_plan_wants() {
        assert_eq!(
            say("", &["web", "api"], Message::Started),
            "Deploying web, api of shop to production — commit `0123456`, by ada@laptop"
        );
        assert_eq!(
            say("", &["web"], Message::Completed { verdict: "verified" }),
            "Deploy completed: web of shop — commit `0123456`, verified after 0 s. To roll back: `cm-rollback &lt;/dev/null`"
        );
        assert_eq!(
            say(
                "",
                &[],
                Message::VerificationFailed { reason: "Gateway: 503 <!channel> & more", severity: Some(Severity::P0) }
            ),
            "Verification FAILED (P0, immediate rollback, page on-call): everything of shop — commit `0123456`, after 0 s: \
             Gateway: 503 &lt;!channel&gt; &amp; more. To roll back: `cm-rollback &lt;/dev/null`"
        );
        assert_eq!(
            say(
                "",
                &["web"],
                Message::RolledBack { to: Some("fedcba9876543210"), verdict: "rolled back, healthy and verified" }
            ),
            "Rolling back to previous version `fedcba9` — investigating: web of shop — commit `0123456`, \
             rolled back, healthy and verified after 0 s. Where else to go: `cm-rollback --list`"
        );
    }

    #[test]
    fn what_urls_hold_beside_host_and_path_is_not_told() {
        let reason = "https://ada:s3cret@shop.example/health?token=s3cret answered 500";
        for message in [Message::Failed { reason }, Message::VerificationFailed { reason, severity: None }] {
            let text = say("[notify]\nlink = \"https://ada:s3cret@git.example/c?id={commit}\"", &["web"], message);
            assert!(text.contains(": https://shop.example/health answered 500. To roll back"), "{text}");
            assert!(text.ends_with("\nhttps://git.example/c?id=0123456789abcdef"), "{text}");
        }
    }

    #[test]
    fn a_link_leads_to_the_commit() {
        let text =
            say("[notify]\nlink = \"https://git.example/c/{commit}?a&b\"", &["web"], Message::Failed { reason: "x" });
        assert!(text.ends_with("\nhttps://git.example/c/0123456789abcdef?a&amp;b"), "{text}");
    }

    #[test]
    fn many_services_are_a_number() {
        let text = say("", &["a", "b", "c", "d", "e", "f", "g", "h"], Message::Started);
        assert!(text.starts_with("Deploying a, b, c, d, e, f and 2 more of shop"), "{text}");
    }
}
