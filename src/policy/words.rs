//! How findings speak of the parts of a policy.

/// A text from a file as it is shown in a sentence: short, and without control characters.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = text.chars().take(LONGEST).collect::<String>();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let shown = shown.replace(char::is_control, "\u{fffd}");
    format!("`{shown}`")
}

/// What a path names: "schedule `nightly` of policy `prod`".
pub(super) fn subject(path: &[String]) -> String {
    let Some((last, above)) = path.split_last() else {
        return "the policy file".into();
    };
    let named = |what: &str| format!("{what} {}", quote(last));
    match above {
        [] => quote(last),
        [section] => match section.as_str() {
            "storage" => named("storage"),
            "offerings" => named("offering"),
            "templates" => named("template"),
            "policies" => named("policy"),
            "settings" => named("setting"),
            _ => quote(last),
        },
        [.., _, section] if section == "schedules" => {
            format!(
                "{} of {}",
                named("schedule"),
                subject(&above[..above.len() - 1])
            )
        }
        _ => format!("{} of {}", quote(last), subject(above)),
    }
}

/// What kind of thing a path names: "a schedule".
pub(super) fn kind(path: &[String]) -> String {
    let words = path.iter().map(String::as_str).collect::<Vec<_>>();
    match words[..] {
        [] => "a policy file".into(),
        ["settings"] => "the settings".into(),
        ["storage", _] => "a storage".into(),
        ["offerings", _] => "an offering".into(),
        ["templates", _] => "a template".into(),
        ["policies", _] => "a policy".into(),
        [.., "schedules", _] => "a schedule".into(),
        [.., last] => quote(last),
    }
}

/// `a, b or c`.
pub(super) fn either<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = names.into_iter().map(quote).collect::<Vec<_>>();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}
