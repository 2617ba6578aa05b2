//! How soon the allocator returns freed memory to the system.
//!
//! Problem: mimalloc keeps what is freed for a second, which saves page faults; a scan with a small budget turns that budget over many times a
//! second, and would take a multiple of it. Contract: after [`return_early`] with a small budget the process stays near its budget.

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

/// `mi_option_purge_delay` in mimalloc's own header; the bindings leave it out.
const PURGE_DELAY: mi_option_t = 15;
const MILLISECONDS: i64 = 10;
/// From this budget on what is kept for a second is small beside it.
const LARGE_BUDGET: u64 = 512 << 20;

/// Has freed memory returned early where the budget (bytes) is small.
pub fn return_early(budget: u64) {
    if budget < LARGE_BUDGET {
        // SAFETY: sets a number in the allocator's own table, whose index it checks, and has it return what is free now. That ends the wait
        // that began with the longer delay.
        #[expect(unsafe_code, reason = "the allocator has no safe way to set an option")]
        unsafe {
            mi_option_set(PURGE_DELAY, MILLISECONDS);
            mi_collect(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_budget_shortens_the_delay() {
        #[expect(unsafe_code, reason = "the allocator has no safe way to read an option")]
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        let before = delay();
        return_early(LARGE_BUDGET);
        assert_eq!(delay(), before);
        return_early(64 << 20);
        assert_eq!(delay(), MILLISECONDS);
        assert!(before > MILLISECONDS, "the allocator's own delay is longer: {before}");
    }
}
