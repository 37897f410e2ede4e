/// Applies a client's masking key to `data` in place (RFC 6455, section 5.3).
///
/// `offset` is the position of `data` in the frame's payload, so that a payload can be unmasked in pieces. Applying the
/// same key twice restores the data.
#[inline]
pub fn apply_mask(data: &mut [u8], key: [u8; 4], offset: usize) {
    let word = u32::from_le_bytes(key).rotate_right(offset as u32 % 4 * 8);
    let key = word.to_le_bytes();
    let word = u32::from_ne_bytes(key);
    let double = u64::from(word) << 32 | u64::from(word);
    // Four words at a time, which the compiler vectorizes.
    let (blocks, rest) = data.as_chunks_mut::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for chunk in words {
            *chunk = (u64::from_ne_bytes(*chunk) ^ double).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_bytes() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..=200).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        for split in 0..plain.len() {
            let mut data = plain.clone();
            let (head, tail) = data.split_at_mut(split);
            apply_mask(head, key, 0);
            apply_mask(tail, key, split);
            assert_eq!(data, expected, "split at {split}");
        }
    }
}
