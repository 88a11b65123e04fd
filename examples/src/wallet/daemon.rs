//! A wallet that runs, and a socket through which commands reach it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsps_node::Node;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::Failure;
use super::command::Command;
use super::execute::execute;
use super::show::Screen;

/// Has the daemon do a command. `None`: no daemon runs.
pub async fn ask(directory: &Path, command: &Command, screen: Screen) -> Result<Option<Value>, Failure> {
    let mut stream = match UnixStream::connect(socket(directory)).await {
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        connected => connected?,
    };
    stream.write_all((serde_json::to_string(command)? + "\n").as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        let told: Value = serde_json::from_str(&line)?;
        if let Some(progress) = told.get("progress") {
            screen.progress(progress);
        } else if let Some(error) = told.get("error") {
            return Err(Failure::new(error.as_str().unwrap_or_default()));
        } else {
            return Ok(Some(told.get("answer").cloned().unwrap_or_default()));
        }
    }
    Err(Failure::new("the daemon ended before it answered"))
}

/// Serves commands until the process is told to end, and tells the events of the node.
pub async fn serve(directory: &Path, node: Node, screen: Screen) -> Result<Value, Failure> {
    let path = socket(directory);
    let _ = std::fs::remove_file(&path); // of a process that was killed: the data are locked, so no other lives
    let listener = UnixListener::bind(&path)?;
    screen.progress(&json!({ "node_id": node.node_id().to_string(), "socket": path.display().to_string() }));
    let (mut end, stopped) = (signal(SignalKind::terminate())?, Arc::new(Notify::new()));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (node, stopped) = (node.clone(), Arc::clone(&stopped));
                tokio::spawn(async move { answer(accepted?.0, &node, &stopped).await.map_err(std::io::Error::other) });
            }
            event = node.next_event() => {
                screen.progress(&serde_json::to_value(&event)?);
                node.acknowledge(&event)?;
            }
            () = stopped.notified() => break,
            _ = end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    let _ = std::fs::remove_file(&path);
    node.stop().await;
    Ok(json!({ "stopped": "everything is saved" }))
}

/// Does the command of one connection. If the other side is gone, the command ends; what it began goes on.
async fn answer(stream: UnixStream, node: &Node, stopped: &Notify) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Some(line) = lines.next_line().await? else { return Ok(()) };
    let (sender, mut progress) = mpsc::unbounded_channel();
    let tell = move |value: Value| drop(sender.send(json!({ "progress": value })));
    let done = async {
        match serde_json::from_str(&line) {
            Ok(Command::Stop) => {
                stopped.notify_one();
                Ok(json!({ "stopped": "the daemon ends" }))
            }
            Ok(command) => execute(node, &command, &tell).await,
            Err(why) => Err(why.into()),
        }
    };
    tokio::pin!(done);
    loop {
        tokio::select! {
            biased;
            Some(told) = progress.recv() => writer.write_all(format!("{told}\n").as_bytes()).await?,
            done = &mut done => {
                let told = match done {
                    Ok(answer) => json!({ "answer": answer }),
                    Err(why) => json!({ "error": why.to_string() }),
                };
                return writer.write_all(format!("{told}\n").as_bytes()).await;
            }
            left = lines.next_line() => if left?.is_none() { return Ok(()) },
        }
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("wallet.sock")
}
