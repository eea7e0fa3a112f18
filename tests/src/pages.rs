//! Documentation pages whose commands are run: finds a page's commands, and compares their output with the page.
//!
//! Commands are in blocks marked `console`, after the prompt of their machine, followed by their output:
//!
//! ```text
//! store# proxy config proxy.domain=snaps.internal
//! proxy.domain: snaps.internal
//! …
//! ```
//!
//! `…` stands for any lines, and within a line for any text. A block may be indented, in a list.

/// The prompts of the machines.
const PROMPTS: [(&str, &str); 2] = [("laptop$ ", "laptop"), ("store# ", "store")];

/// One command of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line.
    pub line: usize,
    /// The first line of its block.
    pub block: usize,
    /// Its machine: `laptop` or `store`.
    pub machine: &'static str,
    /// The command.
    pub command: String,
    /// The expected output.
    pub shown: Vec<String>,
}

/// The commands of a page.
#[must_use]
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut indent, mut block) = (false, "", 0);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(mark) = line.trim_start().strip_prefix("```") {
            (inside, block) = (mark == "console", number);
            indent = &line[..line.len() - line.trim_start().len()];
        } else if inside {
            let line = line.strip_prefix(indent).unwrap_or(line);
            let prompt =
                PROMPTS.iter().find_map(|(prompt, machine)| Some((line.strip_prefix(prompt)?, *machine)));
            if let Some((command, machine)) = prompt {
                steps.push(Step {
                    line: number,
                    block,
                    machine,
                    command: command.to_owned(),
                    shown: Vec::new(),
                });
            } else if let Some(step) = steps.last_mut() {
                step.shown.push(line.to_owned());
            }
        }
    }
    steps
}

/// Whether a line matches the page.
fn fits(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether the output matches the page.
#[must_use]
pub fn as_shown(output: &[&str], shown: &[String]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((first, others)) if first == "…" => {
            (0..=output.len()).any(|skip| as_shown(&output[skip..], others))
        }
        Some((first, others)) => {
            output.split_first().is_some_and(|(line, left)| fits(line, first) && as_shown(left, others))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_compared() {
        let shown = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        for (output, pattern, fit) in [
            ("a\nb\nc", "a\n…\nc", true),
            ("a\nc", "a\n…\nc", true),
            ("a\nb", "a", false),
            ("a", "a\nb", false),
            ("x-1.tar.gz", "x-….tar.gz", true),
            ("x-1.tar", "x-….tar.gz", false),
            ("anything", "…", true),
            ("", "…", true),
            ("", "", true),
            ("a", "", false),
        ] {
            let lines: Vec<&str> = output.lines().collect();
            assert_eq!(as_shown(&lines, &shown(pattern)), fit, "{output:?} {pattern:?}");
        }
    }
}
