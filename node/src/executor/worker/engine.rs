//! wasmtime's settings: the hard outer bounds of every guest, whatever its task allows.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// Stack of a guest.
pub(super) const WASM_STACK_BYTES_MAX: usize = 512 * 1024;
/// Entries of one table: function pointers of the largest modules we compile, several times over.
pub(super) const TABLE_ELEMENTS_MAX: usize = 64 * 1024;
/// Tables of one module.
const TABLES_MAX: u32 = 4;
/// All that wasm32 can address. Address space only: pages exist once they are touched, and the limiter of each run
/// refuses to grow beyond what its task may use.
const MEMORY_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Instances of one worker: it runs one task after the other.
const SLOTS: u32 = 1;

/// An engine whose pool holds one instance.
pub(super) fn build() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(SLOTS)
        .total_memories(SLOTS)
        .total_tables(SLOTS * TABLES_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(MEMORY_BYTES)?)
        .max_unused_warm_slots(SLOTS);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        // The whole reach of a 32-bit pointer is reserved, so that loads and stores need no bounds checks.
        .memory_reservation(MEMORY_BYTES)
        .memory_init_cow(true)
        // Nothing outside wasmtime unwinds through guest code.
        .native_unwind_info(false)
        // What no compiler for WASI preview 1 emits unless it is told to.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        // The same module gives the same answer on every processor.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    Engine::new(&config)
}
