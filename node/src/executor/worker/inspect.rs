//! A look at a module before any effort is spent on it: is it one we can run, and is compiling it affordable?
//!
//! **Invariant:** runs in time linear in the module's size; everything that depends on types is left to wasmtime.

use shoal_protocol::config::MODULE_BYTES_MAX;
use wasmparser::{ExternalKind, Parser, Payload};

use super::wasi;

/// Functions of one module; compile time grows with them.
const FUNCTIONS_MAX: u32 = 10_000;
/// One function; register allocation takes more than linear time.
const FUNCTION_BYTES_MAX: usize = 512 * 1024;
/// Imports named in a message.
const NAMES_SHOWN_MAX: usize = 3;
/// Characters shown of a name that a stranger chose.
const NAME_CHARS_MAX: usize = 60;

/// Why a module is not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it has {bytes} bytes, the limit is {MODULE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("it is not a WebAssembly module: {0}")]
    NotWasm(String),
    #[error("it is a WebAssembly component; build it as a WASI preview-1 command (wasm32-wasip1)")]
    Component,
    #[error("it has {count} functions, the limit is {FUNCTIONS_MAX}")]
    TooManyFunctions { count: u32 },
    #[error("one of its functions has {bytes} bytes, the limit is {FUNCTION_BYTES_MAX}")]
    FunctionTooLarge { bytes: usize },
    #[error("it imports {names}, which no peer offers; only WASI preview 1 is there")]
    UnknownImports { names: String },
    #[error("it exports no function `_start`; build it as a command, not as a library")]
    NoStart,
}

pub(super) fn check(module: &[u8]) -> Result<(), Unfit> {
    if module.len() as u64 > MODULE_BYTES_MAX {
        return Err(Unfit::TooLarge { bytes: module.len() });
    }
    if Parser::is_component(module) {
        return Err(Unfit::Component);
    }
    if !Parser::is_core_wasm(module) {
        return Err(Unfit::NotWasm("it does not begin with the header of one".to_owned()));
    }
    let mut unknown = Vec::new();
    let mut start = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(not_wasm)? {
            Payload::FunctionSection(functions) if functions.count() > FUNCTIONS_MAX => {
                return Err(Unfit::TooManyFunctions { count: functions.count() });
            }
            Payload::CodeSectionEntry(body) if body.range().len() > FUNCTION_BYTES_MAX => {
                return Err(Unfit::FunctionTooLarge { bytes: body.range().len() });
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(not_wasm)?;
                    if import.module != wasi::MODULE || !wasi::FUNCTIONS.contains(&import.name) {
                        unknown.push(format!("`{}.{}`", shown(import.module), shown(import.name)));
                    }
                    if unknown.len() > NAMES_SHOWN_MAX {
                        break;
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(not_wasm)?;
                    start |= export.name == "_start" && export.kind == ExternalKind::Func;
                }
            }
            // Everything else is wasmtime's to judge.
            _ => {}
        }
    }
    if !unknown.is_empty() {
        let more = if unknown.len() > NAMES_SHOWN_MAX { " and more" } else { "" };
        unknown.truncate(NAMES_SHOWN_MAX);
        return Err(Unfit::UnknownImports { names: unknown.join(", ") + more });
    }
    if start { Ok(()) } else { Err(Unfit::NoStart) }
}

fn not_wasm(error: wasmparser::BinaryReaderError) -> Unfit {
    Unfit::NotWasm(error.to_string())
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).flat_map(char::escape_default).collect()
}
