use bytes::Bytes;
use std::{collections::VecDeque, mem, ops::Range};

/// Removes ranges, which are in order and apart, from the bytes of all buffers together.
pub(crate) fn cut(buffers: &mut VecDeque<Bytes>, ranges: &[Range<usize>]) {
    let mut ranges = ranges.iter().peekable();
    let mut from = 0;
    for buffer in mem::take(buffers) {
        let to = from + buffer.len();
        let mut kept = from;
        while let Some(range) = ranges.peek()
            && range.start < to
        {
            if range.start > kept {
                buffers.push_back(buffer.slice(kept - from..range.start - from));
            }
            kept = kept.max(range.end.min(to));
            if range.end > to {
                break;
            }
            ranges.next();
        }
        if kept < to {
            buffers.push_back(buffer.slice(kept - from..));
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ranges_are_removed() {
        for (ranges, left) in [
            (&[][..], &["abc", "d", "efgh"][..]),
            (&[(0, 1), (2, 3)], &["b", "d", "efgh"]),
            (&[(1, 6)], &["a", "gh"]),
            (&[(3, 4)], &["abc", "efgh"]),
            (&[(0, 3), (5, 6), (7, 8)], &["d", "e", "g"]),
            (&[(0, 8)], &[]),
        ] {
            let mut buffers: VecDeque<Bytes> =
                ["abc", "d", "efgh"].map(|text| Bytes::from_static(text.as_bytes())).into();
            let ranges: Vec<_> = ranges.iter().map(|&(start, end)| start..end).collect();
            cut(&mut buffers, &ranges);
            assert_eq!(buffers, left, "{ranges:?}");
        }
    }
}
