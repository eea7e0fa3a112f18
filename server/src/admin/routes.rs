//! All routes of the admin API: path, required permissions over the network, and handler.

use axum::Json;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use schema::api::admin::calls::{
    self, AddModel, AddSender, AddTrust, AllowRemodel, BackTrain, Backup, BeginParcel, BlockDevice,
    BreakTheGlass, Call, ChangeConfig, ChangeDeltas, ClearMisses, CloseModel, CollectGarbage, CompareHistory,
    CompareTrain, CopyDatabase, CountDevices, CreateKey, CreateLogin, DecideApproval, DisableAcme,
    DraftTrain, DropParcel, EnableAcme, Explain, ExplainRollouts, ExportRollout, ExportTrain,
    ForecastRollout, ImportParcel, LimitKey, ListAccountKeys, ListApprovals, ListAudit, ListConfigHistory,
    ListDeltas, ListDevices, ListGroups, ListImports, ListJobs, ListKeys, ListLogins, ListMisses, ListModels,
    ListOverrides, ListParcels, ListRollouts, ListSenders, ListSerials, ListSnaps, ListStores, ListTags,
    ListTrains, ListTrust, ListWaitingImports, MoveRollout, MoveTrain, NoteRehearsal, OpenPages, PauseJob,
    PlanRollout, PushArchive, PushAssertions, PushPart, PushSnaps, PushStores, RefuseImport, ReissueSerial,
    ReleaseImport, RemoveGroup, RemoveOverrides, RemoveSender, RemoveTag, RemoveTrust, RenewAcme, Repair,
    RequestKey, RetireKey, RevokeLogin, RotateSecret, SetDeviceTags, SetGroup, SetOverrides, SetTag,
    ShowAcme, ShowApproval, ShowConfig, ShowDevice, ShowDeviceKit, ShowDoctor, ShowGroup, ShowHistory,
    ShowMeasures, ShowOpenApi, ShowRollout, ShowSerial, ShowSiteCode, ShowStatus, ShowTrain,
    ShowWaitingImport, SignDigest, SignTrain, Upkeep, Verify, WriteReceipt,
};
use schema::service_login::Acl;

use serde_json::Value;

use super::route::Route;
use super::shape::Described;
use super::{
    Admin, Operator, acme, approvals, audit, config, deltas, device_kit, devices, doctor, glass, groups,
    history, imported, jobs, logins, maintain, measures, openapi, overrides, page_links, parcels, push,
    report, rollouts, signing, status, trains, upkeep, waiting,
};

/// Changes the site, or shows what only an operator may know.
const ADMIN: &[Acl] = &[Acl::Admin];
/// Only shows something.
const READ: &[Acl] = &[Acl::Admin, Acl::AdminRead];
/// Imports something.
const IMPORTS: &[Acl] = &[Acl::Admin, Acl::AdminImports];
/// Changes overrides.
const OVERRIDES: &[Acl] = &[Acl::Admin, Acl::Overrides];
/// Decides what others ask; no permission but this one allows it over the network.
const APPROVE: &[Acl] = &[Acl::Approve];
/// Refuses an import that waits.
const REFUSE: &[Acl] = &[Acl::Admin, Acl::AdminImports, Acl::Approve];
/// Shows what waits for approvals.
const SEE_APPROVALS: &[Acl] = &[Acl::Admin, Acl::AdminRead, Acl::Approve];
/// Shows imports that wait: whoever pushes makes them visible once they are approved.
const SEE_IMPORTS: &[Acl] = &[Acl::Admin, Acl::AdminRead, Acl::AdminImports, Acl::Approve];
/// Shows overrides.
const SEE_OVERRIDES: &[Acl] = &[Acl::Admin, Acl::AdminRead, Acl::Overrides];

/// A route cannot be declared without its permissions, nor with a handler that takes or answers anything other than its
/// call declares.
fn route<C, H, T, A>(needs: &'static [Acl], summary: &'static str, handler: H) -> Route
where
    C: Call,
    H: Handler<T, Admin> + Described<A, Request = C::Request, Answer = C::Answer>,
    T: 'static,
{
    let (method, filter) = match C::METHOD {
        calls::Method::Get => (Method::GET, MethodFilter::GET),
        calls::Method::Post => (Method::POST, MethodFilter::POST),
        calls::Method::Put => (Method::PUT, MethodFilter::PUT),
        calls::Method::Patch => (Method::PATCH, MethodFilter::PATCH),
        calls::Method::Delete => (Method::DELETE, MethodFilter::DELETE),
    };
    Route { method, path: C::PATH, needs, summary, shape: H::shape, handler: on(filter, handler) }
}

/// All routes as an OpenAPI document.
pub(crate) fn document() -> Value {
    openapi::document(&routes())
}

async fn show_document(_: Operator) -> Json<Value> {
    Json(document())
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ShowStatus, _, _, _>(READ, "How the store is doing", status::status),
        route::<ShowDeviceKit, _, _, _>(READ, "What a device needs to use this store", device_kit::show),
        route::<ShowDoctor, _, _, _>(READ, "Are devices served, now and in 90 days", doctor::doctor),
        route::<ListSnaps, _, _, _>(READ, "What is held", report::snaps),
        route::<PushSnaps, _, _, _>(IMPORTS, "Push a snap bundle", push::snaps),
        route::<PushArchive, _, _, _>(IMPORTS, "Push a store archive", push::archive),
        route::<WriteReceipt, _, _, _>(
            IMPORTS,
            "What the site holds, for senders of parcels",
            parcels::receipt,
        ),
        route::<ShowSiteCode, _, _, _>(READ, "What a person carries in place of a receipt", parcels::code),
        route::<ListSenders, _, _, _>(READ, "Senders whose parcels are taken", parcels::list_senders),
        route::<AddSender, _, _, _>(ADMIN, "Take the parcels of a sender", parcels::add_sender),
        route::<RemoveSender, _, _, _>(ADMIN, "Take no more parcels of a sender", parcels::remove_sender),
        route::<ListParcels, _, _, _>(READ, "Parcels that are not imported yet", parcels::list),
        route::<BeginParcel, _, _, _>(IMPORTS, "Begin a parcel with its manifest", parcels::begin),
        route::<PushPart, _, _, _>(IMPORTS, "Push a part of a parcel", parcels::part),
        route::<ImportParcel, _, _, _>(IMPORTS, "Import a parcel whose parts are here", parcels::import),
        route::<DropParcel, _, _, _>(IMPORTS, "Remove a parcel that is not imported", parcels::drop_parcel),
        route::<ListWaitingImports, _, _, _>(SEE_IMPORTS, "Imports that wait for approvals", waiting::list),
        route::<ShowWaitingImport, _, _, _>(SEE_IMPORTS, "What an import changes that waits", waiting::show),
        route::<ReleaseImport, _, _, _>(
            IMPORTS,
            "Let devices see an import that was approved",
            waiting::release,
        ),
        route::<RefuseImport, _, _, _>(REFUSE, "Refuse an import that waits", waiting::refuse),
        route::<PushAssertions, _, _, _>(IMPORTS, "Push a stream of assertions", push::assertions),
        route::<ListAccountKeys, _, _, _>(READ, "Account keys that were imported", report::account_keys),
        route::<ListStores, _, _, _>(READ, "Stores whose metadata was imported", report::stores),
        route::<PushStores, _, _, _>(IMPORTS, "Push the metadata of brand stores", push::stores),
        route::<ListTrust, _, _, _>(READ, "Trust anchors beside the built-in ones", report::trust),
        route::<AddTrust, _, _, _>(ADMIN, "Add trust anchors", push::trust),
        route::<RemoveTrust, _, _, _>(ADMIN, "Remove a trust anchor", push::distrust),
        route::<ShowConfig, _, _, _>(READ, "The configuration in force, without its secrets", config::show),
        route::<ChangeConfig, _, _, _>(ADMIN, "Change the configuration", config::change),
        route::<ListConfigHistory, _, _, _>(READ, "Who changed which setting, and when", config::history),
        route::<ShowAcme, _, _, _>(READ, "How certificates come from an ACME authority", acme::status),
        route::<EnableAcme, _, _, _>(ADMIN, "Have certificates come from an ACME authority", acme::enable),
        route::<DisableAcme, _, _, _>(ADMIN, "Have them come from nowhere", acme::disable),
        route::<RenewAcme, _, _, _>(ADMIN, "Ask for a certificate now", acme::renew),
        route::<ListJobs, _, _, _>(READ, "What runs in the background", jobs::list),
        route::<PauseJob, _, _, _>(ADMIN, "Hold a job, or let it go on", jobs::pause),
        route::<ListDeltas, _, _, _>(READ, "Deltas for devices", deltas::list),
        route::<ChangeDeltas, _, _, _>(ADMIN, "Have a delta made, or drop deltas", deltas::change),
        route::<ListDevices, _, _, _>(READ, "Devices as they were last seen", devices::list),
        route::<CountDevices, _, _, _>(READ, "How many devices were seen, and when", devices::count),
        route::<ShowMeasures, _, _, _>(READ, "What was counted over time", measures::show),
        route::<ShowDevice, _, _, _>(READ, "One device", devices::show),
        route::<Explain, _, _, _>(
            READ,
            "Why a device gets its revision of a snap, or none",
            devices::explain,
        ),
        route::<ListMisses, _, _, _>(READ, "What devices asked for and did not get", devices::misses),
        route::<ClearMisses, _, _, _>(ADMIN, "Forget what devices missed", devices::clear_misses),
        route::<BlockDevice, _, _, _>(ADMIN, "Block a device, or let it in again", config::block),
        route::<SetDeviceTags, _, _, _>(ADMIN, "Give devices a tag, or take it back", groups::tag),
        route::<ListGroups, _, _, _>(READ, "Groups of devices", groups::list),
        route::<ShowGroup, _, _, _>(READ, "One group", groups::show),
        route::<SetGroup, _, _, _>(ADMIN, "Save a group; planned first", groups::set),
        route::<RemoveGroup, _, _, _>(ADMIN, "Remove a group", groups::remove),
        route::<ListRollouts, _, _, _>(READ, "Rollouts and how far they are", rollouts::list),
        route::<ShowRollout, _, _, _>(READ, "One rollout", rollouts::show),
        route::<PlanRollout, _, _, _>(ADMIN, "Plan a rollout", rollouts::plan),
        route::<MoveRollout, _, _, _>(
            ADMIN,
            "Start, pause, resume, move on or give up a rollout",
            rollouts::step,
        ),
        route::<ExportRollout, _, _, _>(READ, "A rollout's plan, and how far it is", rollouts::export),
        route::<ForecastRollout, _, _, _>(READ, "How a rollout would go", rollouts::simulate),
        route::<ExplainRollouts, _, _, _>(READ, "What rollouts decide about a device", rollouts::why),
        route::<ListTrains, _, _, _>(READ, "Trains and how far they are", trains::list),
        route::<ShowTrain, _, _, _>(READ, "One train", trains::show),
        route::<ExportTrain, _, _, _>(READ, "How a sequence departs, and what became of it", trains::export),
        route::<MoveTrain, _, _, _>(
            ADMIN,
            "Hold sequences, plan how one departs, let it depart, open a wave, pause, resume",
            trains::step,
        ),
        route::<BackTrain, _, _, _>(ADMIN, "Back to what an earlier sequence names", trains::back),
        route::<CompareTrain, _, _, _>(
            READ,
            "What a sequence brings, and what is wrong with it",
            trains::diff,
        ),
        route::<DraftTrain, _, _, _>(READ, "The next sequence, for somebody to sign", trains::draft),
        route::<SignTrain, _, _, _>(ADMIN, "The next sequence, signed by a key of this store", trains::sign),
        route::<Upkeep, _, _, _>(ADMIN, "Release, close, remove and prune; planned first", upkeep::run),
        route::<ShowHistory, _, _, _>(READ, "How the channel map moved", history::log),
        route::<CompareHistory, _, _, _>(READ, "What differs between two generations", history::diff),
        route::<ListTags, _, _, _>(READ, "Generations that have a name", history::tags),
        route::<SetTag, _, _, _>(ADMIN, "Name a generation", history::tag),
        route::<RemoveTag, _, _, _>(ADMIN, "Take a name back", history::untag),
        route::<ListAudit, _, _, _>(READ, "What operators did", audit::list),
        route::<ListImports, _, _, _>(READ, "What was imported, by whom and from which file", imported::list),
        route::<ListOverrides, _, _, _>(
            SEE_OVERRIDES,
            "Overrides of the imported channel map",
            overrides::list,
        ),
        route::<SetOverrides, _, _, _>(OVERRIDES, "Give a channel another revision", overrides::set),
        route::<RemoveOverrides, _, _, _>(
            OVERRIDES,
            "Let the imported channel map count again",
            overrides::remove,
        ),
        route::<ListLogins, _, _, _>(READ, "Service logins, without their tokens", logins::list),
        route::<CreateLogin, _, _, _>(ADMIN, "Make a service login", logins::create),
        route::<RevokeLogin, _, _, _>(ADMIN, "Take a service login back", logins::revoke),
        route::<ListApprovals, _, _, _>(SEE_APPROVALS, "What waits for approvals", approvals::list),
        route::<ShowApproval, _, _, _>(SEE_APPROVALS, "One request for approval", approvals::show),
        route::<DecideApproval, _, _, _>(APPROVE, "Approve or refuse what others ask", approvals::decide),
        route::<CreateKey, _, _, _>(ADMIN, "Make a key that signs on site", signing::create_key),
        route::<ListKeys, _, _, _>(READ, "Keys that sign on site", signing::list_keys),
        route::<RequestKey, _, _, _>(ADMIN, "A signed request to register a key", signing::request_key),
        route::<LimitKey, _, _, _>(ADMIN, "Set how much a key may sign on a day", signing::limit_key),
        route::<SignDigest, _, _, _>(ADMIN, "Sign a digest with a key for models", signing::sign_digest),
        route::<RetireKey, _, _, _>(ADMIN, "Take a key out of use for good", signing::retire_key),
        route::<AddModel, _, _, _>(ADMIN, "Sign the serials of a model here", signing::add_model),
        route::<ListModels, _, _, _>(READ, "Models whose serials are signed here", signing::list_models),
        route::<CloseModel, _, _, _>(ADMIN, "Give out no more serials of a model", signing::close_model),
        route::<AllowRemodel, _, _, _>(ADMIN, "Let devices change their model", signing::allow_remodel),
        route::<ReissueSerial, _, _, _>(ADMIN, "Give a serial to another device", signing::reissue_serial),
        route::<ListSerials, _, _, _>(READ, "Serials that were given out", signing::list_serials),
        route::<ShowSerial, _, _, _>(READ, "One serial that was given out", signing::show_serial),
        route::<BreakTheGlass, _, _, _>(ADMIN, "Sign a user for one device", glass::break_glass),
        route::<Verify, _, _, _>(ADMIN, "Check everything that is held", maintain::verify),
        route::<Repair, _, _, _>(ADMIN, "Replace damaged files from a bundle", maintain::repair),
        route::<Backup, _, _, _>(ADMIN, "Everything that a host is rebuilt from", maintain::backup),
        route::<NoteRehearsal, _, _, _>(ADMIN, "Note that a backup was rehearsed", maintain::rehearsed),
        route::<CollectGarbage, _, _, _>(ADMIN, "Remove files that nobody owns", maintain::gc),
        route::<RotateSecret, _, _, _>(ADMIN, "Make a secret anew", config::rotate),
        route::<CopyDatabase, _, _, _>(ADMIN, "Copy everything into a PostgreSQL database", config::copy),
        route::<OpenPages, _, _, _>(READ, "A link that opens the pages once", page_links::make),
        route::<ShowOpenApi, _, _, _>(READ, "This document", show_document),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_route() {
        let routes: Vec<_> = routes().iter().map(|route| (route.method.to_string(), route.path)).collect();
        for (method, path) in calls::CALLS {
            let asked = (method.as_str().to_owned(), *path);
            assert_eq!(routes.iter().filter(|route| **route == asked).count(), 1, "{asked:?}");
        }
        assert_eq!(routes.len(), calls::CALLS.len());
    }
}
