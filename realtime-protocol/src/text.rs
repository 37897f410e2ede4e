/// The longest beginning of `text` that has at most `bytes` bytes and whole characters.
// `str::floor_char_boundary` is newer than our rust-version.
pub fn clip(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
