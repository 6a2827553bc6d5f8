//! What a message does not say, since its reader takes it for granted.

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
