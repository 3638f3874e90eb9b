//! A scripted server that speaks just enough of MongoDB's wire protocol for a dump.
//! It gives the answers that no real server gives on demand: cursors that end too
//! early, documents that are too large, time series of old and new servers, and
//! data without end for measuring.

use bson::{Document, RawDocumentBuf, doc, rawdoc};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What the script says to a command; `None` leaves it to the defaults.
pub type Script = dyn Fn(&str, &Document) -> Option<RawDocumentBuf> + Send + Sync;

pub struct Fake {
    pub port: u16,
}

impl Fake {
    pub fn start(script: impl Fn(&str, &Document) -> Option<RawDocumentBuf> + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let script = Arc::clone(&script);
                std::thread::spawn(move || serve(client, script.as_ref()));
            }
        });
        Fake { port }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }
}

/// An answer with the documents of a whole cursor, or of one batch if `id` is not 0.
pub fn cursor(id: i64, field: &str, documents: &[RawDocumentBuf]) -> RawDocumentBuf {
    let mut array = bson::RawArrayBuf::new();
    documents.iter().for_each(|document| array.push(document.clone()));
    let mut inner = rawdoc! {"id": id, "ns": "shop.x"};
    let field = bson::raw::CString::try_from(field).expect("no zero");
    inner.append(&field, array);
    rawdoc! {"cursor": inner, "ok": 1}
}

const OP_REPLY: u32 = 1;
const OP_QUERY: u32 = 2004;
const OP_MSG: u32 = 2013;

fn serve(mut client: TcpStream, script: &Script) {
    let mut head = [0; 16];
    while client.read_exact(&mut head).is_ok() {
        let field = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        let mut body = vec![0; field(0) as usize - 16];
        if client.read_exact(&mut body).is_err() {
            return;
        }
        let (id, opcode) = (field(4), field(12));
        let start = match opcode {
            OP_MSG => 5,
            // Flags, a name that ends with zero, and two numbers come first.
            OP_QUERY => 4 + body[4..].iter().position(|byte| *byte == 0).expect("a name") + 1 + 8,
            other => panic!("opcode {other}"),
        };
        let length = u32::from_le_bytes(body[start..start + 4].try_into().expect("four")) as usize;
        let command = RawDocumentBuf::from_bytes(body[start..start + length].to_vec()).expect("a command");
        let command = Document::try_from(&command).expect("a command");
        let name = command.keys().next().expect("a name").clone();
        // The server's own collections, which are asked for besides those of the database.
        let own = name == "find" && command.get_str("$db").is_ok_and(|db| db == "admin");
        let answer = script(if own { "find in admin" } else { &name }, &command).unwrap_or_else(|| default(&name));
        if client.write_all(&reply(id, opcode, &answer)).is_err() {
            return;
        }
    }
}

fn reply(to: u32, opcode: u32, answer: &RawDocumentBuf) -> Vec<u8> {
    let (kind, front) = match opcode {
        OP_QUERY => (OP_REPLY, [&8_u32.to_le_bytes()[..], &[0; 12], &1_u32.to_le_bytes()].concat()),
        _ => (OP_MSG, vec![0; 5]),
    };
    let length = u32::try_from(16 + front.len() + answer.as_bytes().len()).expect("small");
    let head = [length, 1, to, kind].map(u32::to_le_bytes).concat();
    [&head[..], &front, answer.as_bytes()].concat()
}

fn default(name: &str) -> RawDocumentBuf {
    match name {
        "hello" | "isMaster" | "ismaster" => rawdoc! {
            "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": 0, "maxWireVersion": 21,
            "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "ok": 1,
        },
        "buildInfo" => rawdoc! {"version": "7.0.0", "ok": 1},
        "ping" | "endSessions" | "killCursors" | "dbStats" => rawdoc! {"ok": 1},
        "listDatabases" => rawdoc! {"databases": [], "ok": 1},
        "listIndexes" => cursor(0, "firstBatch", &[rawdoc! {"v": 2, "key": {"_id": 1}, "name": "_id_"}]),
        _ => {
            let answer = doc! {"ok": 0, "code": 59, "codeName": "CommandNotFound", "errmsg": format!("no {name}")};
            RawDocumentBuf::try_from(&answer).expect("valid")
        }
    }
}
