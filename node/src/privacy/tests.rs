//! A keeper that is killed between any two steps, whose disk fails, and that is asked by many at once.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shoal_protocol::PeerId;
use shoal_protocol::api::ConfigView;
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::privacy::words::Ask;
use shoal_protocol::privacy::{Declaration, Noise, Refused, Release};
use shoal_protocol::task::spec::Payload;

use super::disk::Disk;
use super::keeper::Keeper;
use crate::audit::{self, Audit};
use crate::blobs::BlobStore;

const ROWS: &str = "a,1\nb,2\nb,30\nc,70\n";

/// What a disk has, and what it does wrong.
#[derive(Debug, Default)]
struct Platter {
    /// What a power cut leaves.
    safe: Mutex<Option<Vec<u8>>>,
    writes: AtomicU64,
    /// The write that fails, counted from 1, and whether its bytes are there all the same.
    fails: Mutex<Option<(u64, bool)>>,
}

#[derive(Debug, Clone, Default)]
struct Faulty(Arc<Platter>);

impl Disk for Faulty {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.safe.lock().unwrap().clone())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let write = self.0.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match *self.0.fails.lock().unwrap() {
            Some((at, is_there)) if at == write => {
                if is_there {
                    *self.0.safe.lock().unwrap() = Some(bytes.to_vec());
                }
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => {
                *self.0.safe.lock().unwrap() = Some(bytes.to_vec());
                Ok(())
            }
        }
    }
}

/// A machine that keeps its disk through the deaths of its daemon.
struct Machine {
    dir: tempfile::TempDir,
    disk: Faulty,
    audit: Audit,
    writing: Option<audit::Writing>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let view = ConfigView { schema: String::new(), values: Vec::new() };
        let (audit, writing) = audit::start(dir.path(), &SecretKey::from_bytes(&[1; 32]), &view);
        Self { dir, disk: Faulty::default(), audit, writing: Some(writing) }
    }

    /// A new process, with what is on the disk.
    fn keeper(&self) -> Keeper {
        let blobs = BlobStore::open(&self.dir.path().join("blobs"), 1 << 24).unwrap();
        Keeper::with_disk(Box::new(self.disk.clone()), PeerId([7; 32]), blobs, self.audit.clone())
    }

    async fn declared(&self, epsilon: &str) -> Keeper {
        let keeper = self.keeper();
        keeper.declare(declaration(epsilon)).await.unwrap();
        keeper
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.writing.take().into_iter().for_each(audit::Writing::end);
    }
}

fn declaration(epsilon: &str) -> Declaration {
    let text = format!(
        r#"{{"name": "street", "subject": "household", "rows_per_subject": 7,
             "value": {{"lower": 0, "upper": 60, "resolution": 0.1}}, "budget": {{"epsilon": "{epsilon}"}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// Asks for the sum of these rows.
fn ask(rows: &str, epsilon: &str) -> Ask {
    Ask {
        dataset: "street".into(),
        query: "sum".parse().unwrap(),
        noise: Noise::Epsilon(epsilon.parse().unwrap()),
        data: vec![Payload::inline(rows.as_bytes().to_vec())],
    }
}

async fn spent(keeper: &Keeper) -> String {
    keeper.standings().await.unwrap()[0].budget.spent.to_string()
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[test]
fn the_same_question_gets_the_same_answer_and_pays_once() {
    run(async {
        let machine = Machine::new();
        let keeper = machine.declared("1").await;
        let me = PeerId([7; 32]);

        let first = keeper.release(me, ask(ROWS, "0.4")).await.unwrap();
        let again = machine.keeper().release(me, ask(ROWS, "0.4")).await.unwrap();
        let other = keeper.release(me, ask("a,1\n", "0.4")).await.unwrap();

        assert_eq!(first, again);
        assert_ne!(first.request, other.request);
        assert_eq!(spent(&keeper).await, "0.8");
        let refused = keeper.release(me, ask("a,2\n", "0.4")).await.unwrap_err();
        assert!(matches!(refused, Refused::Spent(_)), "{refused}");
    });
}

/// Killed between any two steps, and started anew each time: paid once, and one answer.
#[test]
fn killed_between_any_two_steps_it_goes_on_without_paying_again() {
    run(async {
        for killed_after in 0..4 {
            let machine = Machine::new();
            let keeper = machine.declared("1").await;
            let wanted = keeper.wanted(ask(ROWS, "0.6")).unwrap();
            let mut kept: Option<Release> = None;
            if killed_after >= 1 {
                assert_eq!(keeper.reserve(&wanted).unwrap(), None);
            }
            if killed_after >= 2 {
                let made = keeper.make(&wanted).unwrap();
                if killed_after >= 3 {
                    kept = Some(keeper.keep(made).unwrap());
                }
            }
            drop(keeper);

            let keeper = machine.keeper();
            assert_eq!(spent(&keeper).await, if killed_after == 0 { "0" } else { "0.6" });
            let answer = keeper.release(PeerId([7; 32]), ask(ROWS, "0.6")).await.unwrap();

            assert!(kept.is_none_or(|kept| kept == answer), "what may have left is what is told again");
            assert_eq!(spent(&keeper).await, "0.6");
            assert!(keeper.release(PeerId([7; 32]), ask("a,2\n", "0.6")).await.is_err());
        }
    });
}

/// Every write of a life fails once, with its bytes there or not: never is anything told that is not paid for and kept.
#[test]
fn a_disk_that_fails_lets_nothing_leave_that_is_not_paid_for() {
    run(async {
        for is_there in [false, true] {
            for failing in 2..=7 {
                let machine = Machine::new();
                let mut keeper = machine.declared("1").await;
                *machine.disk.0.fails.lock().unwrap() = Some((failing, is_there));
                let mut told: BTreeMap<String, Release> = BTreeMap::new();
                for rows in ["a,1\n", "a,2\n", "a,3\n", "a,1\n", "a,2\n", "a,3\n"] {
                    match keeper.release(PeerId([7; 32]), ask(rows, "0.3")).await {
                        Ok(release) => {
                            let before = told.insert(rows.to_owned(), release.clone());
                            assert!(
                                before.is_none_or(|before| before == release),
                                "another answer to the same question"
                            );
                        }
                        Err(refused) => assert!(matches!(refused, Refused::Trouble { .. }), "{refused}"),
                    }
                    // As if the power were cut at any time.
                    keeper = machine.keeper();
                    let paid: f64 = spent(&keeper).await.parse().unwrap();
                    assert!(paid >= 0.3 * told.len() as f64 - 1e-9, "{paid} for {} answers", told.len());
                    assert!(paid <= 1.0);
                }
                assert_eq!(told.len(), 3, "each is answered in the end");
                assert_eq!(spent(&keeper).await, "0.9", "and paid once");
            }
        }
    });
}

#[test]
fn many_at_once_never_spend_more_than_there_is() {
    run(async {
        let machine = Machine::new();
        let keeper = machine.declared("1").await;
        let asking = (0..40).map(|n| {
            let keeper = keeper.clone();
            // Every question twice.
            tokio::spawn(async move { keeper.release(PeerId([n; 32]), ask(&format!("a,{}\n", n / 2), "0.15")).await })
        });
        let mut answers: BTreeMap<String, Vec<Release>> = BTreeMap::new();
        for asked in asking.collect::<Vec<_>>() {
            match asked.await.unwrap() {
                Ok(release) => answers.entry(release.request.to_string()).or_default().push(release),
                Err(refused) => assert!(matches!(refused, Refused::Spent(_)), "{refused}"),
            }
        }

        assert_eq!(answers.len(), 6, "six times 0.15 is within 1");
        assert!(answers.values().all(|same| same.windows(2).all(|pair| pair[0] == pair[1])));
        assert_eq!(spent(&keeper).await, "0.9");
    });
}

#[test]
fn a_damaged_ledger_is_no_empty_one() {
    run(async {
        let machine = Machine::new();
        machine.declared("1").await;
        let whole = machine.disk.0.safe.lock().unwrap().clone().unwrap();
        let (mut flipped, cut) = (whole.clone(), whole[..whole.len() - 1].to_vec());
        flipped[40] ^= 1;
        for damaged in [flipped, cut, Vec::new(), b"rubbish".to_vec()] {
            *machine.disk.0.safe.lock().unwrap() = Some(damaged);

            let refused = machine.keeper().declare(declaration("1")).await.unwrap_err();

            assert!(refused.to_string().contains("damaged"), "{refused}");
        }
        *machine.disk.0.safe.lock().unwrap() = Some(whole);
        assert_eq!(machine.keeper().standings().await.unwrap().len(), 1);
    });
}

#[test]
fn rows_that_cannot_be_read_are_paid_for_once_and_told_without_a_word_of_them() {
    run(async {
        let machine = Machine::new();
        let keeper = machine.declared("1").await;
        for _ in 0..2 {
            let refused = keeper.release(PeerId([7; 32]), ask("a,1\nsecret", "0.3")).await.unwrap_err();
            assert_eq!(
                refused.to_string(),
                "the rows cannot be read: line 2: it is not `subject,value` or `subject,value,group`"
            );
        }
        assert_eq!(spent(&keeper).await, "0.3");
    });
}

#[test]
fn a_data_set_that_names_its_rows_is_about_no_others() {
    run(async {
        let machine = Machine::new();
        let keeper = machine.keeper();
        let blobs = BlobStore::open(&machine.dir.path().join("blobs"), 1 << 24).unwrap();
        let mut declared = declaration("1");
        declared.data = Some(blobs.put(ROWS.as_bytes()).unwrap().id);
        keeper.declare(declared).await.unwrap();
        // A store sees what another instance has put only when it is opened.
        let keeper = machine.keeper();
        let bare = Ask { data: Vec::new(), ..ask("", "0.1") };

        let released = keeper.release(PeerId([7; 32]), bare).await.unwrap();

        assert_eq!(keeper.release(PeerId([7; 32]), ask(ROWS, "0.1")).await.unwrap(), released, "named again or not");
        let refused = keeper.release(PeerId([7; 32]), ask("a,1\n", "0.1")).await.unwrap_err();
        assert!(matches!(refused, Refused::OtherData { .. }), "{refused}");
    });
}
