//! Bulk over an emulated link of 100 Mbit/s and 20 ms there and back, that loses nothing or one packet in a hundred, with
//! each congestion control.
//!
//! ```sh
//! cargo build --release -p shoal-node --example network_bench
//! cargo run --release -p shoal-testnet --example lossy_link
//! ```

use std::process::Command;
use std::time::Duration;

use shoal_testnet::{Emulator, Link, Links, Node, sandbox};

const MEGABYTES: &str = "32";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sandbox::enter()?;
    let bench = std::env::current_exe()?.with_file_name("network_bench");
    for loss in [0.0, 0.01] {
        for congestion in ["cubic", "bbr"] {
            let link = Link { loss, bits_per_s: Some(100_000_000), ..Link::with_delay(Duration::from_millis(10)) };
            let nodes = [Node::edge("near"), Node::edge("far")];
            let emulator = Emulator::start(&nodes, &Links::uniform(link))?;
            let far = emulator.address(1)?.to_string();
            let mut serve = Command::new(&bench);
            serve.args(["serve", &far, "--congestion", congestion]);
            let mut serving = emulator.spawn_in(1, serve)?;
            let mut call = Command::new(&bench);
            call.args(["call", &far, "--megabytes", MEGABYTES, "--congestion", congestion]);
            call.stdout(std::process::Stdio::piped());
            let called = emulator.spawn_in(0, call)?.wait_with_output()?;
            serving.kill()?;
            serving.wait()?;
            println!("loss {:.0} %, {congestion}", loss * 100.0);
            print!("{}", String::from_utf8_lossy(&called.stdout));
            assert!(called.status.success(), "{}", called.status);
        }
    }
    Ok(())
}
