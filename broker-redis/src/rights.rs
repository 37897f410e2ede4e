//! The rights that a user of the servers needs. README.md names them, and they are checked on each new connection.

use crate::{
    names::{Kind, Names},
    scripts::RIGHTS,
};
use redis::Cmd;

/// A command that is used, as rights name it, and what it is used with.
type Right = (&'static str, Used);

#[derive(Clone, Copy)]
enum Used {
    Alone,
    WithKey,
    WithChannel,
    /// A hash, and the number of its keys.
    WithScript,
}

use Used::{Alone, WithChannel, WithKey, WithScript};

const EVERYWHERE: [Right; 18] = [
    ("hello", Alone),
    ("ping", Alone),
    ("info", Alone),
    ("client|id", Alone),
    ("client|kill", Alone),
    ("script|load", Alone),
    ("evalsha", WithScript),
    ("subscribe", WithChannel),
    ("unsubscribe", WithChannel),
    ("publish", WithChannel),
    ("get", WithKey),
    ("set", WithKey),
    ("setrange", WithKey),
    ("xadd", WithKey),
    ("xrange", WithKey),
    ("pexpire", WithKey),
    ("pttl", WithKey),
    ("unlink", WithKey),
];

const IN_A_CLUSTER: [Right; 5] = [
    ("ssubscribe", WithChannel),
    ("sunsubscribe", WithChannel),
    ("spublish", WithChannel),
    ("cluster|slots", Alone),
    ("cluster|info", Alone),
];

/// Parts the words of a command.
const WORDS: &str = "\0";

/// Returns the command that asks which of the rights are missing.
pub(crate) fn ask(names: &Names, is_cluster: bool) -> Cmd {
    let more = if is_cluster { &IN_A_CLUSTER[..] } else { &[] };
    let mut command = RIGHTS.on(&[]);
    for (name, used) in EVERYWHERE.iter().chain(more) {
        let with = match used {
            Alone => String::new(),
            WithScript => ["0", WORDS, "0"].concat(),
            WithKey => names.of(Kind::End, "rights"),
            WithChannel => names.of(Kind::Topic, "rights"),
        };
        command.arg([&name.replace('|', WORDS), WORDS, &with].concat());
    }
    command
}

/// Says which rights are missing, by the answer to what was asked.
pub(crate) fn missing(answer: &[String]) -> String {
    let right = |words: &String| {
        let known = EVERYWHERE.iter().chain(&IN_A_CLUSTER).map(|(name, _)| *name);
        let begins = |name: &&str| words.starts_with(&[&name.replace('|', WORDS), WORDS].concat());
        format!("+{}", known.into_iter().find(begins).unwrap_or("?"))
    };
    answer.iter().map(right).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rights: &[Right]) -> String {
        rights.iter().map(|(name, _)| format!("+{name}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_readme_names_all_rights() {
        let readme = include_str!("../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let (everywhere, in_a_cluster) = (list(&EVERYWHERE), list(&IN_A_CLUSTER));
        assert!(readme.contains(&format!("`{everywhere}`, in a cluster `{in_a_cluster}` too")), "{everywhere}");
    }

    #[test]
    fn missing_rights_are_told_as_they_are_granted() {
        let answer = ["set\0app:{a}:e:rights", "client\0kill\0"].map(str::to_owned);
        assert_eq!(missing(&answer), "+set +client|kill");
    }
}
