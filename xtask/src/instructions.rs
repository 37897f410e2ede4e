//! The cost of the core's hot paths in instructions, compared with accepted numbers.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::command::{Outcome, cargo, none_of, output, program, repository, run, works};
use crate::debian;
use crate::metadata::Metadata;

/// Fails if a path costs more than was accepted.
pub(crate) fn test() -> Outcome {
    if !cfg!(target_os = "linux") {
        println!("valgrind counts on Linux only: nothing is compared");
        return Ok(());
    }
    let accepted = parse(&read()?)?;
    let measured = measure()?;
    print!("{}", table(&accepted, &measured));
    if accepted.machine != measured.machine {
        println!("\nNothing can be compared. The accepted numbers are from\n  {}", accepted.machine);
        println!("and these are from\n  {}", measured.machine);
        println!("{ACCEPT} at an earlier commit gives numbers to compare with.");
        return Ok(());
    }
    for hint in cheaper(&accepted, &measured) {
        println!("{hint}");
    }
    let mut problems = problems(&accepted, &measured);
    if !problems.is_empty() {
        problems.push(advice(&folder()?));
    }
    none_of(problems)
}

/// `cargo xtask instructions`: runs the step, or accepts the numbers of this machine.
pub(crate) fn instructions(flags: &[&str]) -> Outcome {
    match flags {
        [] => test(),
        ["--accept"] => accept(),
        _ => Err("usage: cargo xtask instructions [--accept]".into()),
    }
}

/// Writes this machine's numbers into the file.
fn accept() -> Outcome {
    let text = read()?;
    let accepted = parse(&text)?;
    let measured = measure()?;
    print!("{}", table(&accepted, &measured));
    let path = repository().join(FILE);
    fs::write(&path, rewritten(&text, &measured)?)
        .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
    println!("\nThe numbers are in {FILE}: add the reason for the change there.");
    Ok(())
}

const FILE: &str = "realtime-core/benches/instructions.txt";

/// The deviation in per cent: above it a path fails, below it a hint is printed.
const TOLERANCE: u64 = 5;

/// The instructions of each work, and their origin: they depend on the compiler, the C library, and the features of the
/// processor.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    machine: String,
    works: Vec<(String, u64)>,
}

impl Counts {
    fn of(&self, name: &str) -> Option<u64> {
        self.works.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }
}

fn read() -> Outcome<String> {
    let path = repository().join(FILE);
    fs::read_to_string(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}

fn parse(text: &str) -> Outcome<Counts> {
    let mut machine = None;
    let mut works = Vec::new();
    for line in text.lines() {
        match Line::parse(line)? {
            Line::Comment => {}
            Line::Machine(name) => machine = Some(name.to_owned()),
            Line::Count(name, count) => works.push((name.to_owned(), count)),
        }
    }
    let machine = machine.ok_or_else(|| format!("{FILE} has no line `{MACHINE} ...`"))?;
    Ok(Counts { machine, works })
}

const MACHINE: &str = "machine:";

enum Line<'a> {
    Comment,
    Machine(&'a str),
    Count(&'a str, u64),
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Outcome<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self::Comment);
        }
        if let Some(machine) = line.strip_prefix(MACHINE) {
            return Ok(Self::Machine(machine.trim()));
        }
        let count = |(name, count): (&'a str, &str)| Some(Self::Count(name, count.trim().parse().ok()?));
        line.split_once(' ')
            .and_then(count)
            .ok_or_else(|| format!("{FILE} has the line {line:?}, which is not `NAME COUNT`"))
    }
}

/// Returns the text with new numbers. Works that are no longer measured are removed, new ones appended.
fn rewritten(text: &str, measured: &Counts) -> Outcome<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        match Line::parse(line)? {
            Line::Comment => lines.push(line.to_owned()),
            Line::Machine(_) => lines.push(format!("{MACHINE} {}", measured.machine)),
            Line::Count(name, _) => lines.extend(measured.of(name).map(|count| count_line(name, count))),
        }
    }
    let known = parse(text)?;
    let new = measured.works.iter().filter(|(name, _)| known.of(name).is_none());
    lines.extend(new.map(|(name, count)| count_line(name, *count)));
    Ok(lines.join("\n") + "\n")
}

fn count_line(name: &str, count: u64) -> String {
    format!("{name:<16}{count:>10}")
}

fn table(accepted: &Counts, measured: &Counts) -> String {
    let mut table = format!("\n{:<16}{:>10}{:>12}{:>10}\n", "instructions", "accepted", "measured", "change");
    for (name, count) in &measured.works {
        let (before, change) = match accepted.of(name) {
            Some(accepted) => (accepted.to_string(), format!("{:+.1} %", change(accepted, *count))),
            None => ("-".into(), String::new()),
        };
        table.push_str(format!("{name:<16}{before:>10}{count:>12}{change:>10}").trim_end());
        table.push('\n');
    }
    table
}

fn change(accepted: u64, measured: u64) -> f64 {
    (measured as f64 / accepted as f64 - 1.0) * 100.0
}

fn problems(accepted: &Counts, measured: &Counts) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, count) in &measured.works {
        match accepted.of(name) {
            None => problems.push(format!("{name} is not in {FILE}; {ACCEPT} adds it")),
            Some(before) if count * 100 > before * (100 + TOLERANCE) => problems.push(format!(
                "{name} takes {count} instructions, {:.1} % more than the {before} that were accepted",
                change(before, *count)
            )),
            Some(_) => {}
        }
    }
    let gone = accepted.works.iter().filter(|(name, _)| measured.of(name).is_none());
    problems
        .extend(gone.map(|(name, _)| format!("{name} is in {FILE} and no longer measured; {ACCEPT} removes it")));
    problems
}

fn advice(folder: &Path) -> String {
    format!(
        "What took them, function by function: callgrind_annotate {}/NAME.out\n\
         If it is worth them, put the new number into {FILE} and write there why; {ACCEPT} puts in all of them.",
        folder.display()
    )
}

const ACCEPT: &str = "`cargo xtask instructions --accept`";

fn cheaper(accepted: &Counts, measured: &Counts) -> Vec<String> {
    let cheaper = |(name, count): &(String, u64)| {
        let before = accepted.of(name)?;
        (count * 100 < before * (100 - TOLERANCE))
            .then(|| format!("{name} got cheaper: lower its number in {FILE} to {count}"))
    };
    measured.works.iter().filter_map(cheaper).collect()
}

fn measure() -> Outcome<Counts> {
    if !works(program("valgrind").arg("--version"))? {
        debian::install("valgrind", &["valgrind"], "or leave its step out with --skip instructions")?;
    }
    let binary = build()?;
    let folder = folder()?;
    fs::create_dir_all(&folder).map_err(|error| format!("{} can't be created: {error}", folder.display()))?;

    let said = output(program("valgrind").args(["-q", "--command-line-only=yes", "--tool=none"]).arg(&binary))?;
    let said = String::from_utf8_lossy(&said);
    let (processor, works) = said.split_once('\n').ok_or("the bench `instructions` lists no works")?;
    let works = works.lines().map(|line| {
        let (name, times) = line.split_once(' ').ok_or_else(|| format!("invalid work {line:?}"))?;
        let times: u64 = times.parse().map_err(|_| format!("invalid work {line:?}"))?;
        let file = folder.join(format!("{name}.out"));
        let few = count(&binary, name, times, &file)?;
        let many = count(&binary, name, 2 * times, &file)?;
        Ok((name.to_owned(), many.saturating_sub(few) / times))
    });
    let works = works.collect::<Outcome<_>>()?;
    Ok(Counts { machine: format!("{}, {}, {processor}", rustc()?, libc()), works })
}

/// Returns the folder for callgrind's output.
fn folder() -> Outcome<PathBuf> {
    Ok(Metadata::of_workspace()?.target_directory.join("instructions"))
}

fn build() -> Outcome<PathBuf> {
    let bench = ["bench", "--no-run", "-p", "realtime-core", "--bench", "instructions", "--all-features"];
    run(cargo().args(bench))?;
    executable(&output(cargo().args(bench).args(["--quiet", "--message-format=json"]))?)
        .ok_or_else(|| "`cargo bench` names no program".into())
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn executable(messages: &[u8]) -> Option<PathBuf> {
    let messages = serde_json::Deserializer::from_slice(messages).into_iter::<Message>();
    messages.filter_map(|message| message.ok()?.executable).last()
}

/// Counts the instructions of a whole run.
fn count(binary: &Path, name: &str, times: u64, file: &Path) -> Outcome<u64> {
    let mut out = "--callgrind-out-file=".to_owned();
    out.push_str(&file.to_string_lossy());
    output(
        program("valgrind")
            // The C library must choose the same implementations everywhere.
            .env_remove("GLIBC_TUNABLES")
            .args(["--command-line-only=yes", "--tool=callgrind", &out])
            .arg(binary)
            .args([name, &times.to_string()]),
    )?;
    let text = fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?;
    total(&String::from_utf8_lossy(&text)).ok_or_else(|| format!("{} has no total", file.display()))
}

fn total(callgrind: &str) -> Option<u64> {
    callgrind.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

fn rustc() -> Outcome<String> {
    let said = output(program(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"))?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Returns the C library, whose allocator is part of the cost.
fn libc() -> String {
    match output(program("getconf").arg("GNU_LIBC_VERSION")) {
        Ok(said) => String::from_utf8_lossy(&said).trim().to_owned(),
        Err(_) => "an unknown libc".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# What they are.

machine: rustc 1.2.3, glibc 4.5, x86_64 avx2

# Dearer by the check of an origin.
echo                  2000
typed                 4000
";

    #[test]
    fn a_file_has_comments_a_machine_and_numbers() {
        assert_eq!(parse(TEXT).unwrap(), counts(&[("echo", 2000), ("typed", 4000)]));
        for (wrong, said) in [
            ("echo 2000", "no line `machine: ...`"),
            ("machine: x\necho", "\"echo\""),
            ("machine: x\necho many", "\"echo many\""),
            ("machine: x\necho 1 2", "\"echo 1 2\""),
        ] {
            let problem = parse(wrong).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn a_twentieth_more_is_tolerated() {
        let accepted = parse(TEXT).unwrap();
        assert_eq!(problems(&accepted, &counts(&[("echo", 2100), ("typed", 1)])), [""; 0]);

        let problems = problems(&accepted, &counts(&[("echo", 2102), ("typed", 4000)]));
        assert_eq!(problems[0], "echo takes 2102 instructions, 5.1 % more than the 2000 that were accepted");
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn what_only_one_side_knows_is_a_problem() {
        let problems = problems(&parse(TEXT).unwrap(), &counts(&[("echo", 2000), ("decode", 1)]));
        assert!(problems[0].starts_with("decode is not in "), "{}", problems[0]);
        assert!(problems[1].starts_with("typed is in "), "{}", problems[1]);
    }

    #[test]
    fn a_twentieth_less_is_worth_a_word() {
        let accepted = parse(TEXT).unwrap();
        assert_eq!(cheaper(&accepted, &counts(&[("echo", 1900), ("typed", 5000)])), [""; 0]);
        let hints = cheaper(&accepted, &counts(&[("echo", 1899), ("typed", 4000)]));
        assert!(hints[0].starts_with("echo got cheaper"), "{}", hints[0]);
        assert_eq!(hints.len(), 1);
    }

    #[test]
    fn accepting_keeps_the_comments() {
        let mut measured = counts(&[("decode", 5), ("echo", 1900)]);
        assert_eq!(rewritten(TEXT, &parse(TEXT).unwrap()).unwrap(), TEXT);
        measured.machine = "rustc 1.2.4".into();
        let expected = "\
# What they are.

machine: rustc 1.2.4

# Dearer by the check of an origin.
echo                  1900
decode                   5
";
        assert_eq!(rewritten(TEXT, &measured).unwrap(), expected);
    }

    #[test]
    fn the_table_has_both_numbers() {
        let table = table(&parse(TEXT).unwrap(), &counts(&[("echo", 2100), ("decode", 5)]));
        let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows, [vec!["echo", "2000", "2100", "+5.0", "%"], vec!["decode", "-", "5"]]);
    }

    #[test]
    fn the_total_is_found_in_what_callgrind_writes() {
        assert_eq!(
            total("version: 1\nevents: Ir\nsummary: 7\n\nfn=(1) main\n0 12\n\ntotals: 4753202\n"),
            Some(4753202)
        );
        assert_eq!(total("version: 1\n"), None);
    }

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let messages = br#"{"reason":"compiler-artifact","executable":null}
            {"reason":"compiler-artifact","executable":"/target/release/deps/instructions-0"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/target/release/deps/instructions-0".into()));
        assert_eq!(executable(b""), None);
    }

    fn counts(works: &[(&str, u64)]) -> Counts {
        let works = works.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { machine: "rustc 1.2.3, glibc 4.5, x86_64 avx2".into(), works }
    }
}
