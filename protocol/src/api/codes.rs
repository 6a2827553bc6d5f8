//! Stable error codes.

/// The request is not of the form it must have.
pub const BAD_REQUEST: &str = "SH0400";
/// Denied.
pub const DENIED: &str = "SH0403";
/// No such task.
pub const NO_TASK: &str = "SH0404";
/// No such peer.
pub const NO_PEER: &str = "SH0405";
/// No such blob, here or at the neighbours asked.
pub const NO_BLOB: &str = "SH0406";
/// No such pipeline.
pub const NO_PIPELINE: &str = "SH0408";
/// The graph of the pipeline is not one that can be run.
pub const BAD_PIPELINE: &str = "SH0411";
/// No such stream, or it has ended.
pub const NO_STREAM: &str = "SH0416";
/// A stream that cannot be run, or of which there is another under that name.
pub const BAD_STREAM: &str = "SH0417";
/// The key names a task that is kept less well than it is asked for now.
pub const KEPT_LESS: &str = "SH0418";
/// A key names a task that does something else.
pub const KEY_TAKEN: &str = "SH0419";
/// No such invitation, or nobody who waits by that number.
pub const NO_INVITATION: &str = "SH0407";
/// A prefix fits several.
pub const AMBIGUOUS: &str = "SH0409";
/// It is held, or under way, and cannot be changed now.
pub const IN_USE: &str = "SH0410";
/// No peer can run the task.
pub const NO_CANDIDATE: &str = "SH0412";
/// Every peer declined.
pub const ALL_DECLINED: &str = "SH0413";
/// Over a size limit.
pub const TOO_LARGE: &str = "SH0414";
/// Not a module that can be run.
pub const INVALID_MODULE: &str = "SH0415";
/// The module exited with another code than 0.
pub const TASK_FAILED: &str = "SH0420";
/// The module trapped.
pub const TRAPPED: &str = "SH0421";
/// The module hit one of its limits.
pub const LIMIT_HIT: &str = "SH0422";
/// This peer may not sign for the mesh.
pub const NO_ISSUER: &str = "SH0425";
/// The ticket is of no use.
pub const TICKET: &str = "SH0426";
/// The inviting peer does not answer.
pub const NO_INVITER: &str = "SH0427";
/// One of two clocks is wrong.
pub const CLOCK: &str = "SH0428";
/// No peer may have the data, or give back what was made of it.
pub const RESIDENCY: &str = "SH0434";
/// It is not known well enough who is revoked.
pub const REVOCATIONS_STALE: &str = "SH0430";
/// Too much is waiting.
pub const OVERLOADED: &str = "SH0429";
/// Cancelled by its user.
pub const CANCELLED: &str = "SH0499";
/// A fault of this peer.
pub const INTERNAL: &str = "SH0500";
/// Shutting down.
pub const SHUTTING_DOWN: &str = "SH0503";
/// Attempts kept dying.
pub const ATTEMPTS_EXHAUSTED: &str = "SH0504";
/// No other peer keeps a second copy of the task.
pub const NO_GUARDIAN: &str = "SH0505";
/// No such data set, at the peer that was asked.
pub const NO_DATASET: &str = "SH0440";
/// What is left of a privacy budget does not pay for a release.
pub const BUDGET_SPENT: &str = "SH0441";
/// A data set of that name is declared in other words.
pub const DECLARED_OTHERWISE: &str = "SH0442";
/// A declaration, a question or rows that no release can be made of.
pub const BAD_RELEASE: &str = "SH0443";
/// The one peer that keeps a privacy budget cannot be asked.
pub const KEEPER_AWAY: &str = "SH0444";
/// No result by the deadline.
pub const DEADLINE_PASSED: &str = "SH0506";
/// Those that ran the task do not agree on its answer.
pub const UNVERIFIED: &str = "SH0508";
/// The disk failed or is full.
pub const STORE: &str = "SH0507";
/// The business rules are not believed.
pub const POLICY_DENIED: &str = "SH0431";
/// The business rules are older than those in force.
pub const POLICY_OLD: &str = "SH0432";
/// The business rules cannot be meant as they are written.
pub const BAD_POLICY: &str = "SH0433";
/// No such service.
pub const NO_SERVICE: &str = "SH0460";
/// The record of a service is not believed.
pub const SERVICE_DENIED: &str = "SH0461";
/// The record of a service is older than the one in force.
pub const SERVICE_OLD: &str = "SH0462";
/// The record of a service cannot be meant, or its name is none.
pub const BAD_SERVICE: &str = "SH0463";
/// The module of a service failed a call.
pub const CALL_FAILED: &str = "SH0464";
/// As many services are deployed as there may be.
pub const TOO_MANY_SERVICES: &str = "SH0465";
