//! A small mesh and its tasks, as the API tells of them.

use std::collections::BTreeMap;

use shoal_protocol::api::{
    ExecutorView, Listing, LoadView, OutputView, PathView, PeerView, Problem, SandboxPart, Status, TaskCounts,
    TaskView, schema,
};
use shoal_protocol::certificate::Role;
use shoal_protocol::id::{MeshId, PeerId, TaskId};
use shoal_protocol::output::{PeerState, Timings};
use shoal_protocol::placement::explain::{Candidate, Cost, Decision, Method, Verdict};
use shoal_protocol::task::TaskState;

pub(crate) const CAM: PeerId = PeerId([0xca; 32]);
pub(crate) const NAS: PeerId = PeerId([0x4a; 32]);
pub(crate) const FRA: PeerId = PeerId([0xf4; 32]);
pub(crate) const TASK: TaskId = TaskId([7; 16]);

fn load(cpu_percent: u8, cores: u16, queued: u16, memory: u64, free: u64) -> Option<LoadView> {
    Some(LoadView {
        start_in_ms: f64::from(queued) * 10.0,
        cores,
        running: 0,
        queued,
        queue_max: 128,
        cpu_percent,
        speed: 1.0,
        memory_free_bytes: free << 20,
        memory_bytes: memory << 20,
        age_us: 120_000,
    })
}

fn peer(peer: PeerId, name: &str, role: Role) -> PeerView {
    PeerView {
        peer,
        name: name.into(),
        role,
        labels: BTreeMap::new(),
        state: PeerState::Alive,
        rtt_p50_ms: None,
        rtt_p99_ms: None,
        rtt_predicted_ms: None,
        load: None,
        ok_percent: None,
        heard_us_ago: None,
        address: None,
        path: None,
    }
}

pub(crate) fn me() -> PeerView {
    PeerView {
        labels: BTreeMap::from([("site".into(), "a".into())]),
        load: load(37, 2, 1, 512, 302),
        ok_percent: Some(100.0),
        ..peer(CAM, "cam-17", Role::Edge)
    }
}

pub(crate) fn others() -> Vec<PeerView> {
    let fra = PeerView {
        rtt_p50_ms: Some(24.0),
        rtt_p99_ms: Some(31.2),
        load: load(5, 16, 0, 32 << 10, 29 << 10),
        path: Some(PathView::Relayed),
        ..peer(FRA, "fra-1", Role::Cloud)
    };
    let nas = PeerView {
        labels: BTreeMap::from([("site".into(), "a".into()), ("residency".into(), "eu".into())]),
        rtt_p50_ms: Some(0.8),
        rtt_p99_ms: Some(2.1),
        load: load(12, 4, 0, 4 << 10, 2970),
        ok_percent: Some(99.8),
        path: Some(PathView::Direct),
        ..peer(NAS, "nas", Role::Edge)
    };
    let gone = PeerView {
        state: PeerState::Suspect,
        rtt_predicted_ms: Some(3.4),
        ..peer(PeerId([9; 32]), "cam-18", Role::Edge)
    };
    vec![fra, nas, gone]
}

pub(crate) fn status() -> Status {
    Status {
        schema: schema(),
        version: "0.1.0".into(),
        mesh_name: "home-lab".into(),
        mesh: MeshId([0xb7; 32]),
        me: me(),
        uptime_us: 1_000_000,
        addresses: vec!["/ip4/192.0.2.7/udp/7600/quic-v1".into()],
        peers: others(),
        tasks: TaskCounts { running: 2, waiting: 1, done: 311, ..TaskCounts::default() },
        sandbox: ["parent", "limits", "privileges", "files", "syscalls"]
            .map(|name| SandboxPart { name: name.into(), enforced: true, detail: "in force".into() })
            .into(),
        warnings: vec!["cam-18 last seen 4m ago   → shoal ping cam-18".into()],
        counters: BTreeMap::new(),
    }
}

pub(crate) fn peers() -> Listing<PeerView> {
    Listing::new(others())
}

pub(crate) fn accepted() -> TaskView {
    TaskView {
        schema: schema(),
        task: TASK,
        name: "wordcount.wasm".into(),
        state: TaskState::Accepted,
        attempt: 1,
        executor: None,
        variant: None,
        input_bytes: 2048,
        age_us: 300,
        timings: None,
        exit_code: None,
        output: None,
        log: String::new(),
        problem: None,
        limit: None,
        agreed: None,
    }
}

pub(crate) fn done(output: OutputView) -> TaskView {
    TaskView {
        state: TaskState::Done,
        executor: Some(ExecutorView { peer: NAS, name: "nas".into(), role: Role::Edge }),
        timings: Some(Timings { placing_us: 400, prepare_us: 1_000, queued_us: 0, run_us: 8_100, total_us: 12_300 }),
        exit_code: Some(0),
        output: Some(output),
        age_us: 5_000_000,
        ..accepted()
    }
}

pub(crate) fn failed(problem: Problem) -> TaskView {
    TaskView { state: TaskState::Failed, problem: Some(problem), ..accepted() }
}

pub(crate) fn problem(code: &str, status: u16, title: &str) -> Problem {
    Problem {
        code: code.into(),
        status,
        title: title.into(),
        detail: String::new(),
        hint: String::new(),
        retryable: false,
        retry_after_ms: None,
    }
}

pub(crate) fn decision() -> Decision {
    let candidate = |peer, name: &str, role, verdict, cost: Option<[f64; 5]>, note: &str| Candidate {
        peer,
        name: name.into(),
        role,
        verdict,
        cost: cost.map(|[loss, wait, transfer, compute, completion_ms]| Cost {
            loss,
            wait,
            transfer,
            compute,
            ahead: 0.0,
            completion_ms,
        }),
        variant: 0,
        builds: Vec::new(),
        note: note.into(),
    };
    Decision {
        rules: Vec::new(),
        task: TASK,
        epoch: 1,
        method: Method::Offers,
        decided_in_us: 3_100,
        asked: 3,
        lambda: 1.0,
        executor: Some(NAS),
        candidates: vec![
            candidate(NAS, "nas", Role::Edge, Verdict::Won, Some([0.0, 0.8, 8.1, 2.9, 11.8]), "holds 94% of the input"),
            candidate(
                FRA,
                "fra-1",
                Role::Cloud,
                Verdict::Offered,
                Some([0.0, 2.0, 34.3, 2.1, 38.4]),
                "4.2 MB would cross the WAN",
            ),
            candidate(CAM, "cam-17", Role::Edge, Verdict::Declined, None, "queue 128/128"),
            candidate(PeerId([9; 32]), "cam-18", Role::Edge, Verdict::Excluded, None, "label residency=eu is missing"),
        ],
        counterfactuals: vec![
            "fra-1 wins if the input were under 0.9 MB".into(),
            "fra-1 wins if the queue of nas were over 14".into(),
        ],
    }
}
