//! Every text of the pages. Another language is another value of [`Texts`].

macro_rules! texts {
    ($($name:ident = $text:literal;)*) => {
        /// The texts of a language, by their names in the templates.
        #[derive(Debug)]
        pub(super) struct Texts {
            $(pub(super) $name: &'static str,)*
        }

        /// English.
        pub(super) const ENGLISH: Texts = Texts { $($name: $text,)* };
    };
}

texts! {
    language = "en";
    store = "Airlock";

    // Places.
    places = "Pages";
    skip = "Skip to the content";
    now = "Now";
    fleet = "Fleet";
    snaps = "Snaps";
    imports = "Imports";
    rollouts = "Rollouts";
    trains = "Trains";
    registrations = "Registrations";
    approvals = "Approvals";
    misses = "Misses";
    keys = "Certificates and keys";
    audit = "Audit";
    settings = "Settings";

    // Moments.
    just_now = "just now";
    minutes = "min";
    hours = "h";
    days = "days";
    ago = "{} ago";
    ahead = "in {}";
    unknown = "unknown";
    never = "never";
    not_yet = "not yet";
    as_of = "As of";
    stale = "This page may be out of date: the server does not answer. It is asked again every 30 seconds.";
    ended = "Your visit has ended. Load the page again to log in.";

    // In and out.
    log_in = "Log in";
    log_out = "Log out";
    login_label = "Service login";
    login_help = "The text that `proxy create-login --acl admin:read` printed, or admin to change things. On the server's host, `proxy open` prints a link instead.";
    login_refused = "This login is unknown, expired or revoked.";
    login_not_for_this = "This login is not for the pages: they need one with admin or admin:read.";
    visit_ended = "Your visit has ended; what you sent last was not done. Log in again.";
    link_used = "This link was used already, or is more than five minutes old. `proxy open` prints a new one.";
    open_help = "The link works once. The browser may then do what the person may do who ran `proxy open`.";
    open_button = "Open the pages";

    // Trouble.
    trouble = "This did not work";
    back_to_now = "Back to Now";
    foreign_form = "This form did not come from these pages, so nothing was done.";
    form_too_large = "This form is larger than any of these pages, so nothing was done.";
    nothing_here = "There is no page at this address.";
    no_such_snap = "The store does not hold a snap of this name.";
    no_such_step = "A rollout has no such step.";
    no_file = "No file was sent.";

    // Now.
    state = "State of the store";
    state_word = "State";
    served = "Devices are served, now and in 90 days.";
    served_for_now = "Devices are served now, and may not be in 90 days.";
    not_served = "Some devices are not served.";
    version = "version";
    devices = "Devices";
    within_day = "seen within a day";
    silent = "Silent devices";
    silent_help = "not seen for a day";
    silent_word = "silent";
    misses_short = "wanted and not held";
    revisions_word = "revisions";
    last_import = "Last import";
    last_backup = "Last backup";
    rehearsed = "rehearsed";
    certificate = "Certificate";
    until = "until";
    findings = "What needs attention";
    no_findings = "Nothing needs attention, now or in the next 90 days.";
    urgent_now = "Now";
    urgent_soon = "Soon";
    advice = "Advice";
    waves_underway = "Rollouts under way";
    jobs = "In the background";
    job = "Job";
    last_run = "Last run";
    next_run = "Next run";
    result = "Result";
    held = "held";
    failed = "failed";
    well = "well";

    // Plots.
    plot_last_seen = "When devices were last seen";
    plot_contacts = "Contacts of devices";
    plot_sessions = "Device sessions by outcome";
    plot_bytes = "Bytes downloaded";
    plot_free = "Free space";
    plot_revisions = "Revisions of {} that devices run";
    whole_snaps = "whole snaps";
    all_others = "all others";
    over_time = "Over time";
    last_24_hours = "24 hours";
    last_30_days = "30 days";
    last_hour = "last hour";
    hours_ago = "{} h ago";
    at_most = "at most";
    table_below = "The numbers are in the table below it.";
    as_table = "As a table";

    // Fleet and device.
    filter = "Filter";
    clear = "Clear";
    seen_hour = "Seen within an hour";
    seen_day = "Seen within a day";
    seen_week = "Seen within a week";
    blocked = "Blocked";
    blocked_tag = "blocked";
    serial = "Serial";
    brand = "Brand";
    model = "Model";
    below = "Runs less than";
    missing = "Does not run";
    not_seen_for = "Not seen for";
    any_time = "any time";
    an_hour = "an hour";
    a_day = "a day";
    a_week = "a week";
    a_month = "30 days";
    no_devices = "No device was seen that fits.";
    device = "Device";
    last_seen = "Last seen";
    first_seen = "First seen";
    store_word = "Store";
    architecture = "Architecture";
    runs = "Runs";
    missed = "Missed";
    not_told = "It did not say what it runs.";
    next_page = "Next page";
    address = "Address";
    client = "Client";
    snap = "Snap";
    revision = "Revision";
    channel = "Channel";
    channel_optional = "Channel, if not its own";
    explain = "Explain";
    why_this = "Why this revision?";
    timeline = "Timeline";
    first_contact = "First contact";
    last_contact = "Last contact";
    strip = "The last 30 days; the list below has the same";
    strip_help = "Discs are contacts, triangles are misses, squares are what operators did.";
    days_ago = "{} days ago";
    asked_for = "Asked for and did not get";
    actions = "Actions";
    block = "Block this device";
    unblock = "Serve this device again";
    block_help = "A blocked device gets nothing from its next request on.";
    tag = "Tag";
    tag_give = "Give the tag";
    tag_take = "Take it back";
    was_blocked = "The device is blocked.";
    was_unblocked = "The device is served again.";
    was_tagged = "The device has the tag.";
    was_untagged = "The device no longer has the tag.";

    // Downloads of a device.
    downloads = "Downloads";
    deltas_offered = "Deltas offered";
    sent = "Sent";
    last_time = "Last time";
    whole_snap = "whole snap";
    nothing_sent = "nothing sent yet";
    took_delta = "delta";
    took_whole = "whole snap";
    took_whole_instead = "whole snap, although a delta was offered";
    fell_back = "fell back";
    fallbacks = "Whole snaps after a delta";
    offered_word = "offered";
    downloaded_word = "downloaded";

    // Snaps.
    name_part = "Name contains";
    no_snaps = "The store holds no snap that fits.";
    newest = "Newest";
    revisions = "Revisions";
    stores = "Stores";
    size = "Size";
    channels = "Channels";
    no_channels = "No channel leads to a revision of this snap.";
    track = "Track";
    closed_here = "Closed on site";
    version_word = "Version";
    who_runs = "Who runs less";
    devices_below = "devices below it";
    deltas = "Deltas";
    from_to = "From and to";
    full_size = "Whole file";
    delta_made = "made";
    delta_waiting = "will be made";
    delta_too_large = "too large";
    delta_dropped = "dropped";

    // Imports.
    bring = "Import a file";
    file_kind = "What it is";
    kind_snaps = "A snap bundle";
    kind_archive = "A store archive";
    kind_stores = "Metadata of brand stores";
    kind_assertions = "Assertions";
    import_mode = "How";
    dry_run = "Only show what would change";
    for_real = "Import it";
    file = "File";
    import = "Send";
    import_help = "The file is checked before anything of it is served. Larger files go faster with `proxy push-snap` on the server's host.";
    from_folder = "From a folder of the server's host:";
    folder_is_empty = "There are no files in it.";
    folder_hint = "With `proxy config proxy.admin.import-folder=FOLDER`, files of a folder on the server's host can be imported from here.";
    all_of_kind = "all of this kind";
    import_folder = "Begin";
    folder_begun = "The import has begun.";
    folder_under_way = "Under way:";
    folder_over = "Ended:";
    folder_tried = "(nothing is changed)";
    folder_is_busy = "An import of the folder is under way: wait for its end.";
    no_folder = "No folder is named: `proxy config proxy.admin.import-folder=FOLDER` names one.";
    no_such_file = "There is no such file in the folder.";
    may_not_import = "The login is not for imports: they need one with admin:imports or admin.";
    look_again = "look again";
    of = "of";
    files = "files";
    was_tried = "The file is good. Nothing was changed; this is what would be:";
    was_imported = "Imported:";
    no_imports = "Nothing was imported yet.";
    refused = "refused";
    changes = "Changes";

    // Imports that wait.
    quarantine = "Waiting for approval";
    waiting_import = "Import that waits";
    pushed_by = "Pushed by";
    new_bytes = "New bytes";
    request = "request";
    nobody_sees_it = "No device sees anything of it. This is what changes for devices once it is released.";
    new_revisions = "New revisions";
    asks_of_device = "Asks of the device";
    first_one = "new here";
    nothing_new = "as before";
    moved_channels = "Channels that move";
    changed_grants = "Grants";
    new_store = "a new store";
    who_sees_what = "Who sees what";
    assertions = "Assertions";
    gone_assertions = "Assertions that go";
    options = "Options of the push";
    and_more = "More:";
    import_id = "Import";
    release_import = "Let devices see it";
    ask_again = "Ask for approval again";
    refuse_import = "Refuse and remove it";
    own_import = "You pushed this, so somebody else decides.";
    was_released = "Devices see the import from now on.";
    import_was_refused = "The import is refused: nothing of it is kept.";

    // Rollouts.
    no_rollouts = "No rollout is planned. `proxy rollout plan` plans one.";
    planned_by = "planned by";
    may_fail = "may fail:";
    may_be_silent = "may be silent:";
    soak = "soak:";
    stopped_by = "Stopped by";
    wave = "Wave";
    progress = "Progress";
    done = "done";
    waiting = "waiting";
    opened = "Opened";
    start = "Start";
    pause = "Pause";
    resume = "Resume";
    next_wave = "Open the next wave now";
    give_up = "Give it up";
    back_help = "Giving it up puts the channel's own revision in force again.";
    was_started = "The rollout is started.";
    was_paused = "The rollout is paused: nobody new is offered the revision.";
    was_resumed = "The rollout goes on.";
    was_moved_on = "The next step is taken.";
    was_given_up = "The rollout is given up.";

    // Trains.
    no_trains = "No validation set is held as a train. `proxy train hold` holds one.";
    on_its_way = "on its way";
    arrived = "Every device has";
    held_here = "Held here";
    devices_on = "Devices on";
    sequence = "Sequence";
    no_problems = "devices can take it";
    problem = "problem";
    waves = "Waves";
    depart = "Let it depart";
    back_to = "Back to what this one names";
    sign_back = "Go back";
    sign_back_help = "It has a higher number, as devices never go to a lower one, and departs at once.";
    next_train_help = "After the last wave every device is answered this sequence.";
    train_moved_on = "The next step is taken.";
    train_departed = "The sequence departs: its first wave is open.";
    train_back = "The earlier revisions are on their way back, as a sequence with a higher number.";
    train_paused = "The train is paused: nobody new is answered the sequence.";
    train_resumed = "The train goes on.";
    no_such_sequence = "Name a sequence.";
    moved_meanwhile = "This has changed since you looked at it, so nothing was done. This is how it stands now.";

    // Approvals.
    no_approvals = "Nothing waits for approval.";
    approvals_wait = "wait for somebody";
    only_open = "Show only what is open";
    also_ended = "Show what has ended as well";
    asked_by = "asked by";
    approved_of = "of the approvals that it needs:";
    has_approved = "approves";
    has_refused = "refuses";
    what_is_asked = "Exactly what is asked";
    why_optional = "Reason, if you like";
    approve = "Approve";
    refuse = "Refuse";
    own_request = "You asked for this, so somebody else decides.";
    was_approved = "Your approval counts.";
    was_refused = "The request is refused.";
    no_such_decision = "A request is approved or refused, and nothing else.";

    // Registrations.
    models_here = "Models whose serials are signed here";
    no_models = "No model is registered here. `proxy models add` adds one.";
    signed_by = "Signed by";
    serials_from = "Serials";
    issued = "Given out";
    left = "Left";
    since = "Since";
    serials = "Serials that were given out";
    no_serials = "No serial was given out yet.";

    // Misses.
    misses_help = "What devices asked for and did not get: carry it in next.";
    no_misses = "No device asked for anything that it did not get.";
    shopping_list = "Download the list";
    wanted = "Wanted";
    answer = "Answer";
    models = "Models";
    last_asked = "Last asked";
    would_get = "Would get now";
    not_held = "not held";
    not_this_one = "held, but not this";
    first_of = "The most frequent of";

    // Certificates and keys.
    subject = "Subject";
    issuer = "Issuer";
    names = "Names";
    ends = "Ends";
    client_certificates = "Client certificates";
    no_tls = "The store does not use HTTPS.";
    authority = "Authority";
    next_renewal = "Next renewal";
    last_error = "Last error";
    account_keys = "Account keys";
    no_account_keys = "No account key was imported.";
    name = "Name";
    account = "Account";
    no_end = "does not end";
    key_id = "Key";
    site_keys = "Keys that sign on site";
    no_site_keys = "No key signs on site.";
    signed = "Serials signed";
    logins = "Service logins";
    no_logins = "There are no service logins.";
    id = "Id";
    place = "For";
    permissions = "Permissions";

    // Audit.
    who = "Who";
    what = "What";
    from = "From";
    to = "To";
    search = "Search";
    as_csv = "Download as CSV";
    as_json = "Download as JSON";
    audit_head = "End of the log:";
    no_events = "No event fits.";
    when = "When";
    detail = "Details";
    older = "Older";

    // Settings.
    at_restart = "Takes effect at the next start.";
    save = "Save";
    unset = "not set";
    is_set = "set";
    from_credentials = "given by the service manager";
    history = "History";
    no_changes = "No setting was changed yet.";
    setting = "Setting";
    before = "Before";
    after = "After";
    was_saved = "The setting is saved.";
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Words that are the same in every language.
    const NAMES: [&str; 3] = ["SHA", "True", "False"];

    /// A text without what stands between two marks.
    fn without(text: &str, begin: &str, end: &str) -> String {
        let mut parts = text.split(begin);
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.split_once(end).map_or("", |(_, rest)| rest));
        rest.fold(first, |text, rest| text + " " + rest)
    }

    /// The words of a template that are in no expression, tag or command.
    fn words(template: &str) -> Vec<String> {
        let text = without(template, "<code>proxy ", "</code>");
        let text = without(&without(&without(&text, "{%", "%}"), "{{", "}}"), "<", ">");
        let words = text
            .split(|c: char| !c.is_alphabetic() && c != '.')
            .map(|word| word.trim_matches('.').to_owned());
        words.filter(|word| word.len() > 1 && !NAMES.contains(&&**word)).collect()
    }

    #[test]
    fn no_text_is_in_a_template() {
        assert_eq!(
            words("<p{% if a > b %} title=\"{{ c }}\"{% endif %}>{{ d }} Hello {% if e %}you{% endif %}</p>"),
            ["Hello", "you"]
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/templates");
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let found = words(&fs::read_to_string(&path).unwrap());
            assert!(found.is_empty(), "{}: {found:?} belong into texts.rs", path.display());
        }
    }
}
