//! A panic in a task of the product is a violation, although the runtime catches it.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static CAUGHT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Collects this thread's panics from now on, instead of printing them.
pub fn catch() {
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let caught = CAUGHT.with_borrow_mut(|caught| match caught {
                Some(caught) => {
                    caught.push(info.to_string());
                    true
                }
                None => false,
            });
            if !caught {
                usual(info);
            }
        }));
    });
    CAUGHT.set(Some(Vec::new()));
}

/// The panics since [`catch`]; the next ones are printed again.
pub fn release() -> Vec<String> {
    CAUGHT.take().unwrap_or_default()
}
