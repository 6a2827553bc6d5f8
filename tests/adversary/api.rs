//! Requests to the local API by whom it is not for.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;

/// The one that owns nothing.
const NOBODY: u32 = 65_534;

/// The status of an answer to a request with these lines in its head.
async fn status_of(socket: &Path, head: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(format!("GET /v1/status HTTP/1.1\r\nconnection: close\r\n{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn adversary_web_page_that_asks_the_local_api() {
    run(async {
        let target = Target::new().await;
        let socket = target.client.socket().to_owned();
        let attack = async {
            for _ in 0..200 {
                assert_eq!(status_of(&socket, "host: rebound.example:7600\r\n").await, "403");
                assert_eq!(status_of(&socket, "host: localhost\r\norigin: http://evil.example\r\n").await, "403");
            }
        };

        target.stands("400 requests of web pages", attack).await;

        assert_eq!(status_of(&socket, "host: localhost\r\n").await, "200");
        let page = "a web page of http://evil.example";
        target.audits("the page", |it| matches!(it, Happening::ApiDenied { who, .. } if who == page)).await;
    });
}

#[test]
fn adversary_user_who_is_not_the_owner_asks_the_local_api() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can play another user");
        return;
    }
    run(async {
        let target = Target::new().await;
        let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        // Where everybody can get at it, by a path of its own.
        let public = tempfile::tempdir().unwrap();
        open(public.path(), 0o755);
        let shoal = public.path().join("shoal");
        std::fs::copy(shoal_tests::program("shoal"), &shoal).unwrap();
        open(&shoal, 0o755);
        let socket = target.client.socket().to_owned();
        for dir in socket.ancestors().skip(1).take_while(|dir| *dir != std::env::temp_dir() && dir.parent().is_some()) {
            open(dir, 0o755);
        }
        let as_nobody = || {
            let mut command = Command::new(&shoal);
            command.args(["--api", &format!("unix:{}", socket.display()), "status"]).uid(NOBODY).current_dir("/");
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };

        let (code, words) = as_nobody();
        assert_eq!(code, Some(69), "the system keeps them from the socket: {words}");

        // Its owner has opened it to all, by mistake.
        open(&socket, 0o666);
        let (code, words) = as_nobody();
        assert_eq!(code, Some(77), "{words}");
        assert!(words.contains("65534"), "{words}");
        target.audits("the user", |it| matches!(it, Happening::ApiDenied { who, .. } if who.contains("65534"))).await;
        target.stands("after a foreign user", async {}).await;
    });
}
