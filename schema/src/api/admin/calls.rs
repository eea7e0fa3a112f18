//! Every call of the admin API: its method, its path, its request and its answer. The server registers its handlers with
//! these declarations and the CLI makes its requests from them, so neither can differ from the other.

use super::*;

/// An HTTP method of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Imports, plans or does something.
    Post,
    /// Sets something as a whole.
    Put,
    /// Changes a part of something.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The method's name in HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A body that is not a JSON document: a file, or lines.
#[derive(Debug)]
pub enum Bytes {}

/// A call of the admin API.
pub trait Call {
    /// Its method.
    const METHOD: Method;
    /// Its path. A last segment in braces stands for the name of the call's subject.
    const PATH: &'static str;
    /// The JSON document that it takes; `()` for none, [`Bytes`] for a file.
    type Request;
    /// The JSON document that it answers with; [`Bytes`] for a file or lines.
    type Answer;

    /// The path for a subject; the inverse of [`Call::subject`].
    #[must_use]
    fn path_of(subject: &str) -> String {
        let folder = Self::PATH.split_once('{').map_or(Self::PATH, |(folder, _)| folder);
        [folder, subject].concat()
    }

    /// The subject that a path names, if this is a path of the call.
    #[must_use]
    fn subject(path: &str) -> Option<&str> {
        let (folder, _) = Self::PATH.split_once('{')?;
        path.strip_prefix(folder)
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal, $request:ty => $answer:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Call for $name {
                const METHOD: Method = Method::$method;
                const PATH: &'static str = $path;
                type Request = $request;
                type Answer = $answer;
            }
        )*

        /// The method and path of every call.
        pub const CALLS: &[(Method, &str)] = &[$((Method::$method, $path)),*];
    };
}

calls! {
    /// Tells how the store is doing.
    ShowStatus = Get "/v1/status", () => Status;
    /// Tells whether devices are served, now and in 90 days.
    ShowDoctor = Get "/v1/doctor", () => Findings;
    /// Shows what a device needs to use this store.
    ShowDeviceKit = Get "/v1/device-kit", () => DeviceKit;
    /// Lists the snaps that are held.
    ListSnaps = Get "/v1/snaps", () => Snaps;
    /// Imports a snap bundle: `?file=NAME&push-channel-map=true&widen=SNAPS&dry-run=true`.
    PushSnaps = Post "/v1/snaps", Bytes => PushedSnaps;
    /// Imports a store archive: `?file=NAME&push-channel-map=true&widen=SNAPS&dry-run=true`.
    PushArchive = Post "/v1/archives", Bytes => PushedArchive;
    /// Writes a receipt of what the site holds (see [`crate::parcel`]).
    WriteReceipt = Post "/v1/receipts", ReceiptRequest => Bytes;
    /// Shows what a person can carry in place of a receipt.
    ShowSiteCode = Get "/v1/site-code", () => SiteCode;
    /// Lists the senders whose parcels are taken.
    ListSenders = Get "/v1/senders", () => Senders;
    /// Takes the parcels of a sender from now on.
    AddSender = Post "/v1/senders", Bytes => Senders;
    /// Takes no more parcels of a sender.
    RemoveSender = Delete "/v1/senders/{name}", () => Senders;
    /// Lists the parcels that are not imported yet.
    ListParcels = Get "/v1/parcels", () => Parcels;
    /// Begins a parcel with its manifest: `?file=NAME`.
    BeginParcel = Post "/v1/parcels", Bytes => ParcelStatus;
    /// Takes a part of a parcel: `?file=NAME&parcel=ID&part=NUMBER`.
    PushPart = Post "/v1/parcel-parts", Bytes => ParcelStatus;
    /// Imports a parcel whose parts are all here.
    ImportParcel = Post "/v1/parcel-imports", ParcelImport => PushedArchive;
    /// Removes a parcel that is not imported.
    DropParcel = Delete "/v1/parcels/{id}", () => ParcelStatus;
    /// Lists the imports that wait for approvals.
    ListWaitingImports = Get "/v1/waiting-imports", () => WaitingImports;
    /// Shows what an import changes that waits.
    ShowWaitingImport = Get "/v1/waiting-imports/{id}", () => WaitingImport;
    /// Lets devices see an import that was approved.
    ReleaseImport = Post "/v1/import-releases", ImportRelease => WaitingImport;
    /// Refuses an import that waits, and removes it.
    RefuseImport = Delete "/v1/waiting-imports/{id}", () => WaitingImport;
    /// Imports an assertion stream: `?file=NAME&as=account-keys`.
    PushAssertions = Post "/v1/assertions", Bytes => PushedAssertions;
    /// Lists the account keys that were imported.
    ListAccountKeys = Get "/v1/account-keys", () => AccountKeys;
    /// Lists the stores whose metadata was imported.
    ListStores = Get "/v1/stores", () => Stores;
    /// Imports brand store metadata in JSON: `?file=NAME&widen=SNAPS&dry-run=true`.
    PushStores = Post "/v1/stores", Bytes => PushedStores;
    /// Lists the trust anchors that were added to the built-in ones.
    ListTrust = Get "/v1/trust", () => TrustAnchors;
    /// Imports an assertion stream; the answer lists the anchors that it added.
    AddTrust = Post "/v1/trust", Bytes => TrustAnchors;
    /// Removes an anchor; the answer lists those that are left.
    RemoveTrust = Delete "/v1/trust/{fingerprint}", () => TrustAnchors;
    /// Shows the configuration in force, without its secrets.
    ShowConfig = Get "/v1/config", () => Config;
    /// Changes the configuration.
    ChangeConfig = Patch "/v1/config", ConfigChange => ConfigChanged;
    /// Lists the changes of settings, newest last: `?key=KEY`, which may be the beginning of keys.
    ListConfigHistory = Get "/v1/config/history", () => ConfigHistory;
    /// Shows how certificates are obtained from an ACME authority.
    ShowAcme = Get "/v1/acme", () => AcmeStatus;
    /// Turns ACME on; the answer has the certificate, or why there is none yet.
    EnableAcme = Put "/v1/acme", AcmeEnable => AcmeStatus;
    /// Turns ACME off; the certificate stays.
    DisableAcme = Delete "/v1/acme", () => AcmeStatus;
    /// Orders a certificate now.
    RenewAcme = Post "/v1/acme/renew", AcmeRenew => AcmeStatus;
    /// Lists what runs in the background.
    ListJobs = Get "/v1/jobs", () => Jobs;
    /// Pauses a job, or lets it go on.
    PauseJob = Put "/v1/jobs/pause", JobPause => JobStatus;
    /// Lists deltas for devices: `?snap=NAME`.
    ListDeltas = Get "/v1/deltas", () => Deltas;
    /// Has a delta made, or drops deltas; the answer lists those that are meant.
    ChangeDeltas = Post "/v1/deltas", DeltaRequest => Deltas;
    /// Lists devices as they were last seen: `?brand=B&model=M&store=ID&stale=SECONDS&missing=SNAP&below=SNAP=REV`,
    /// and by pages in the order of their names: `&after=BRAND/MODEL/SERIAL&limit=NUMBER`.
    ListDevices = Get "/v1/devices", () => Devices;
    /// Counts devices by when they were last seen.
    CountDevices = Get "/v1/fleet", () => FleetCounts;
    /// Shows what was counted over time: `?metric=NAME&step=hour&last=NUMBER&snap=SNAP`.
    ShowMeasures = Get "/v1/measures", () => Measures;
    /// Shows one device: `?device=BRAND/MODEL/SERIAL`.
    ShowDevice = Get "/v1/device", () => Device;
    /// Explains what a device gets of a snap:
    /// `?device=BRAND/MODEL/SERIAL&snap=SNAP&channel=CHANNEL&revision=NUMBER`.
    Explain = Get "/v1/explain", () => Explanation;
    /// Lists what devices asked for and did not get.
    ListMisses = Get "/v1/misses", () => Misses;
    /// Forgets what devices asked for and did not get: `?older-than=SECONDS`.
    ClearMisses = Delete "/v1/misses", () => ClearedMisses;
    /// Blocks a device, or unblocks it.
    BlockDevice = Put "/v1/devices/block", DeviceBlock => DeviceBlock;
    /// Gives devices a tag, or takes it back.
    SetDeviceTags = Put "/v1/devices/tags", TagDevices => TaggedDevices;
    /// Lists groups of devices.
    ListGroups = Get "/v1/groups", () => Groups;
    /// Shows a group.
    ShowGroup = Get "/v1/groups/{name}", () => Group;
    /// Says whom a group would take, and saves it if the request says so.
    SetGroup = Post "/v1/groups", GroupRequest => Group;
    /// Removes a group.
    RemoveGroup = Delete "/v1/groups/{name}", () => Group;
    /// Lists rollouts.
    ListRollouts = Get "/v1/rollouts", () => Rollouts;
    /// Shows a rollout.
    ShowRollout = Get "/v1/rollouts/{name}", () => Rollout;
    /// Plans a rollout.
    PlanRollout = Post "/v1/rollouts", RolloutRequest => Rollout;
    /// Starts, pauses or resumes a rollout, opens its next wave, or gives it up.
    MoveRollout = Post "/v1/rollout-steps", RolloutStep => Rollout;
    /// Exports a rollout's plan, and how far it is.
    ExportRollout = Get "/v1/rollout-exports/{name}", () => RolloutExport;
    /// Tells how a rollout would go, a planned one of this name or this plan.
    ForecastRollout = Post "/v1/rollout-forecasts", RolloutRequest => RolloutForecast;
    /// Tells what rollouts decide about a device: `?device=BRAND/MODEL/SERIAL`.
    ExplainRollouts = Get "/v1/rollout-reasons", () => RolloutReasons;
    /// Lists trains.
    ListTrains = Get "/v1/trains", () => Trains;
    /// Shows a train: `?set=ACCOUNT/NAME`.
    ShowTrain = Get "/v1/train", () => Train;
    /// Exports how a sequence was planned to depart, and what became of it: `?set=ACCOUNT/NAME`.
    ExportTrain = Get "/v1/train-export", () => TrainExport;
    /// Keeps new sequences of a set from devices, plans how one departs, lets it depart, opens its next wave, pauses or resumes it.
    MoveTrain = Post "/v1/train-steps", TrainStep => Train;
    /// Lets a sequence depart that names what an earlier one does, signed by a key of this store if none waits here.
    BackTrain = Post "/v1/train-backs", TrainBackRequest => Train;
    /// Compares two sequences of a set, and tells why devices would not take the second: `?set=ACCOUNT/NAME&from=NUMBER&to=NUMBER`.
    CompareTrain = Get "/v1/train-diff", () => TrainDiff;
    /// Drafts the next sequence of a set, for somebody to sign.
    DraftTrain = Post "/v1/train-drafts", TrainDraftRequest => TrainDraft;
    /// Drafts the next sequence of a held set, has it signed by a key of this store, and keeps it.
    SignTrain = Post "/v1/train-signatures", TrainSignRequest => TrainSigned;
    /// Plans a release, closing, removal or pruning, and does it if the request says so.
    Upkeep = Post "/v1/upkeep", UpkeepRequest => UpkeepPlan;
    /// Lists how channels, grants and metadata changed: `?snap=NAME&last=NUMBER`.
    ShowHistory = Get "/v1/history", () => History;
    /// Compares the channels, grants and metadata of two generations: `?from=POINT&to=POINT&snap=NAME`.
    CompareHistory = Get "/v1/history-diff", () => HistoryDiff;
    /// Lists the generations that have a name.
    ListTags = Get "/v1/tags", () => Tags;
    /// Names a generation.
    SetTag = Post "/v1/tags", TagRequest => Tag;
    /// Removes a name.
    RemoveTag = Delete "/v1/tags/{name}", () => Tag;
    /// Lists what operators did: `?since=SECONDS&after=NUMBER`, or the newest that fit:
    /// `?who=OPERATOR&what=ACTION&subject=SUBJECT&from=DAY&to=DAY&before=NUMBER&limit=NUMBER`.
    ListAudit = Get "/v1/audit", () => AuditLog;
    /// Lists what was imported or refused, newest last: `?since=SECONDS&last=NUMBER`.
    ListImports = Get "/v1/imports", () => Imports;
    /// Lists the overrides of the imported channel map: `?snap=NAME`.
    ListOverrides = Get "/v1/overrides", () => Overrides;
    /// Sets overrides; the answer lists them.
    SetOverrides = Post "/v1/overrides", OverrideRequest => Overrides;
    /// Removes overrides: `?snap=NAME&channel=CHANNEL`. The answer lists the channels, without a revision of their own.
    RemoveOverrides = Delete "/v1/overrides", () => Overrides;
    /// Lists service logins, without their tokens.
    ListLogins = Get "/v1/logins", () => Logins;
    /// Creates a service login.
    CreateLogin = Post "/v1/logins", LoginRequest => CreatedLogin;
    /// Revokes a service login.
    RevokeLogin = Delete "/v1/logins/{id}", () => Login;
    /// Lists what waits for approvals, newest first: `?all=true` with what has ended.
    ListApprovals = Get "/v1/approvals", () => Approvals;
    /// Shows one request for approval.
    ShowApproval = Get "/v1/approvals/{id}", () => Approval;
    /// Approves or refuses what somebody else asks for.
    DecideApproval = Post "/v1/approval-votes", ApprovalDecision => Approval;
    /// Makes a key that signs on site.
    CreateKey = Post "/v1/signing-keys", SigningKeyRequest => SigningKeyInfo;
    /// Lists the keys that sign on site.
    ListKeys = Get "/v1/signing-keys", () => SigningKeys;
    /// Has a key sign the request for its registration.
    RequestKey = Post "/v1/key-requests/{name}", () => KeyRegistration;
    /// Sets how much a key may sign on a day.
    LimitKey = Put "/v1/key-limits", KeyLimit => SigningKeyInfo;
    /// Has a key for models sign a digest.
    SignDigest = Post "/v1/key-digests", DigestRequest => DigestSigned;
    /// Retires a key.
    RetireKey = Delete "/v1/signing-keys/{name}", () => SigningKeyInfo;
    /// Sets the policy for the serials of a model.
    AddModel = Post "/v1/models", ModelRequest => ModelPolicy;
    /// Lists the policies.
    ListModels = Get "/v1/models", () => ModelPolicies;
    /// Closes a policy.
    CloseModel = Put "/v1/models/close", ModelClose => ModelPolicy;
    /// Lets devices of one model become devices of another, or no longer.
    AllowRemodel = Put "/v1/models/remodels", RemodelRequest => ModelPolicy;
    /// Takes a serial from its device, for the next one that asks for it.
    ReissueSerial = Put "/v1/serials/reissue", SerialReissue => IssuedSerial;
    /// Lists serials that were given out: `?model=BRAND/MODEL&after=BRAND/MODEL/SERIAL`.
    ListSerials = Get "/v1/serials", () => IssuedSerials;
    /// Shows one serial with its assertion: `?device=BRAND/MODEL/SERIAL`.
    ShowSerial = Get "/v1/serial", () => IssuedSerial;
    /// Signs a user for one device.
    BreakTheGlass = Post "/v1/break-glass", BreakGlass => GlassBroken;
    /// Checks everything that is held; the answer has one [`VerifyNews`] on each line.
    Verify = Post "/v1/verify", VerifyRequest => Bytes;
    /// Replaces damaged files from a snap bundle: `?file=NAME`.
    Repair = Post "/v1/repair", Bytes => Repaired;
    /// Makes a backup; the answer lacks its first entry (see [`crate::backup`]).
    Backup = Post "/v1/backup", BackupRequest => Bytes;
    /// Notes that a backup was rehearsed.
    NoteRehearsal = Post "/v1/rehearsals", Rehearsal => Rehearsal;
    /// Removes files that nothing owns.
    CollectGarbage = Post "/v1/gc", CleanUp => CleanedUp;
    /// Replaces a secret by a new one.
    RotateSecret = Post "/v1/secrets/rotate", SecretRotation => SecretRotated;
    /// Copies everything into a PostgreSQL database.
    CopyDatabase = Post "/v1/database/copy", DatabaseCopy => DatabaseCopied;
    /// Makes a link that opens the pages once.
    OpenPages = Post "/v1/page-links", () => PageLink;
    /// Shows this API as an OpenAPI document.
    ShowOpenApi = Get "/v1/openapi.json", () => serde_json::Value;
}
