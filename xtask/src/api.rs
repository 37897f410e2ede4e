//! The public interface of the libraries, kept as text: a change of it is a change of a file that is reviewed.
//!
//! It is read from the pages of rustdoc, whose form belongs to a compiler: files of another one are not compared.

use std::{fs, path::Path};

use crate::boundaries::LIBRARIES;
use crate::command::{Outcome, cargo, none_of, output, program, repository, run};
use crate::metadata::Metadata;

/// Compares the interfaces with the accepted ones, or accepts them.
pub(crate) fn api(flags: &[&str]) -> Outcome {
    let accepts = match flags {
        [] => false,
        ["--accept"] => true,
        _ => return Err("`api` takes --accept, or nothing".into()),
    };
    let names = LIBRARIES.iter().flat_map(|name| ["-p", name]);
    // The flags of the step `docs`: its pages are still good.
    let mut doc = cargo();
    run(doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps", "--all-features"]).args(names))?;
    let pages = Metadata::of_workspace()?.target_directory.join("doc");
    let compiler = output(program("rustc").arg("--version"))?;
    let compiler = String::from_utf8_lossy(&compiler).trim().to_owned();
    none_of(LIBRARIES.iter().filter_map(|name| library(name, &pages, &compiler, accepts).err()).collect())
}

pub(crate) fn test() -> Outcome {
    api(&[])
}

fn library(name: &str, pages: &Path, compiler: &str, accepts: bool) -> Outcome {
    let file = repository().join("docs/api").join(format!("{name}.txt"));
    let found = format!("{compiler}\n\n{}", interface(&pages.join(name.replace('-', "_")))?);
    if accepts {
        return fs::write(&file, found).map_err(|error| format!("{}: {error}", file.display()));
    }
    let accepted = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    if accepted.lines().next() != Some(compiler) {
        println!("{name}: the accepted interface is of another compiler than {compiler}");
        return Ok(());
    }
    let changes = changes(&accepted, &found);
    if changes.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the interface of {name} has changed; `cargo xtask api --accept` takes it:\n{}",
        changes.join("\n")
    ))
}

/// Returns the lines that only one of two texts has.
fn changes(before: &str, after: &str) -> Vec<String> {
    let only = |one: &str, other: &str, sign: &str| {
        let lines = one.lines().filter(|line| !other.lines().any(|other| other == *line));
        lines.map(|line| format!("{sign} {}", line.trim_start())).collect::<Vec<_>>()
    };
    let found = [only(before, after, "-"), only(after, before, "+")].concat();
    if found.is_empty() && before != after { vec!["its order".into()] } else { found }
}

/// Returns the items of a crate, each with its declaration, its methods and the traits that it implements.
fn interface(folder: &Path) -> Outcome<String> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let list = read("all.html")?;
    let mut text = String::new();
    let list = list.split_once("<section id=\"main-content\"").map_or("", |(_, list)| list);
    for link in between(list, "<li><a href=\"", "</a></li>") {
        let Some((file, name)) = link.split_once("\">") else { continue };
        if name.contains(CASES) {
            continue;
        }
        let page = read(file)?;
        text.push_str(&format!("{}\n{}\n", plain(name), item(&page)));
    }
    Ok(text)
}

/// The cases of the conformance suite, which its macro calls.
const CASES: &str = "::cases::";

fn item(page: &str) -> String {
    let mut text = String::new();
    for declaration in between(page, "<pre class=\"rust item-decl\"><code>", "</code></pre>").take(1) {
        let declaration = plain(declaration);
        let lines = declaration.lines().filter(|line| !line.trim().is_empty());
        // What a macro expands to is no interface.
        let count = if declaration.starts_with("macro_rules!") { 1 } else { usize::MAX };
        text.extend(lines.take(count).map(|line| format!("    {line}\n")));
    }
    let part = |from: &str, to: &[&str]| {
        let rest = page.split_once(from).map_or("", |(_, rest)| rest);
        let end = to.iter().filter_map(|to| rest.find(to)).min().unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    let own = part("<div id=\"implementations-list\">", &["<h2 id="]);
    let traits = part("<div id=\"trait-implementations-list\">", &["<h2 id="]);
    for (part, is_own) in [(own, true), (traits, false)] {
        for header in headers(&part) {
            match header {
                ("h3", code) => text.push_str(&format!("    {}\n", one_line(code))),
                (_, code) if is_own => text.push_str(&format!("        {}\n", one_line(code))),
                _ => {}
            }
        }
    }
    text
}

/// Returns the headers of implementations (`h3`) and of what is in them (`h4`), with their code.
fn headers(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split(" class=\"code-header\">");
    let starts = parts.clone().map(|part| if part.ends_with("<h3") { "h3" } else { "h4" });
    let codes = parts.skip(1).filter_map(|part| part.split("</h3>").next()?.split("</h4>").next());
    starts.zip(codes).collect()
}

/// Returns the texts between two marks.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
}

fn one_line(html: &str) -> String {
    plain(html).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the text of a part of a page.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for (index, part) in html.replace("<div class=\"where\">", " ").split('<').enumerate() {
        // The first part is before any tag; the others begin with one.
        text.push_str(if index == 0 { part } else { part.split_once('>').map_or("", |(_, text)| text) });
    }
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities.iter().fold(text, |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_declaration_methods_and_traits() {
        let page = "<pre class=\"rust item-decl\"><code>pub struct <a>A</a>&lt;T&gt; {\n    pub x: u8,\n}</code></pre>\
            <div id=\"implementations-list\"><h3 class=\"code-header\">impl <a>A</a></h3>\
            <h4 class=\"code-header\">pub fn <a>b</a>(&amp;self)\n  -&gt; u8</h4></div>\
            <h2 id=\"trait-implementations\">x</h2><div id=\"trait-implementations-list\">\
            <h3 class=\"code-header\">impl Clone for A</h3><h4 class=\"code-header\">fn clone(&amp;self)</h4></div>\
            <h2 id=\"blanket-implementations\">x</h2><h3 class=\"code-header\">impl&lt;T&gt; Any for T</h3>";
        let expected = "    pub struct A<T> {\n        pub x: u8,\n    }\n    impl A\n        pub fn b(&self) -> u8\n    impl Clone for A\n";
        assert_eq!(item(page), expected);
    }

    #[test]
    fn what_changed_is_told_line_by_line() {
        assert_eq!(changes("a\n  b\n", "a\n  c\n"), ["- b", "+ c"]);
        assert_eq!(changes("a\nb\n", "b\na\n"), ["its order"]);
        assert_eq!(changes("a\n", "a\n"), [""; 0]);
    }
}
