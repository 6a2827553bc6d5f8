//! The `noop` task module: starts and ends. What remains is the cost of a task itself.
//!
//! Without the standard library the module is about a hundred bytes; natively it is an empty program.
#![cfg_attr(target_family = "wasm", no_std, no_main)]

#[cfg(not(target_family = "wasm"))]
fn main() {}

#[cfg(target_family = "wasm")]
mod bare {
    #[no_mangle]
    #[allow(unsafe_code)] // the entry point's exported name is what makes this a command
    extern "C" fn _start() {}

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        loop {}
    }
}
