//! Ranges of the real server: one range or the whole file, exact to the byte, streamed (G5).

use tests::http::{Request, Response};
use tests::server::Setup;

use super::Gate;

/// What an answer must be.
enum Due {
    /// These bytes.
    Part(usize, usize),
    /// All bytes.
    Whole,
    /// None: it lies beyond the end.
    Beyond,
}

#[test]
fn attack_ranges_are_exact_or_the_whole_file() {
    use Due::{Beyond, Part, Whole};
    let gate = Gate::on(Setup::default(), 2_500_000);
    let bytes = &gate.snap.image.bytes;
    let (size, end) = (bytes.len(), bytes.len() - 1);
    let max = u64::MAX;
    let named = |text: &str, due| (text.to_owned(), due);
    let table = [
        named("bytes=0-", Part(0, end)),
        named("bytes=0-0", Part(0, 0)),
        named("bytes=1048575-1048576", Part(1_048_575, 1_048_576)),
        named("bytes=-1", Part(end, end)),
        named("BYTES=5-6", Part(5, 6)),
        (format!("bytes={end}-"), Part(end, end)),
        (format!("bytes={end}-{max}"), Part(end, end)),
        (format!("bytes=-{size}"), Part(0, end)),
        (format!("bytes=-{max}"), Part(0, end)),
        named("bytes=7-99999999999999999999999", Part(7, end)),
        (format!("bytes={size}-"), Beyond),
        (format!("bytes={max}-"), Beyond),
        (format!("bytes={max}-{max}"), Beyond),
        named("bytes=18446744073709551616-", Beyond),
        named("bytes=-0", Beyond),
        named("bytes=6-5", Whole),
        named("bytes=0-1,4-5", Whole),
        named("bytes=0-9,5-14", Whole),
        named("bytes=0-,0-,0-,0-,0-,0-,0-,0-", Whole),
        named("bytes=-", Whole),
        named("bytes=a-b", Whole),
        named("bytes=1-2-3", Whole),
        named("bytes=0x1-2", Whole),
        named("bytes=+1-2", Whole),
        named("bytes 0-1", Whole),
        named("items=0-1", Whole),
        named("", Whole),
        (format!("bytes={}", "0-1,".repeat(2000)), Whole),
    ];
    let ask = |change: &dyn Fn(Request) -> Request| gate.store.send(&change(gate.download()));
    let whole = ask(&|request| request);
    let tag = whole.header("ETag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    let check = |asked: &str, answer: &Response, due: &Due| {
        let range = answer.header("Content-Range").map(str::to_owned);
        match due {
            Part(from, to) => {
                assert_eq!(answer.status, 206, "{asked}: {answer:?}");
                assert!(answer.body == bytes[*from..=*to], "{asked}");
                assert_eq!(range, Some(format!("bytes {from}-{to}/{size}")), "{asked}");
            }
            Whole => assert!(
                answer.status == 200 && answer.body == *bytes && range.is_none(),
                "{asked}: {}",
                answer.status
            ),
            Beyond => {
                assert_eq!((answer.status, range), (416, Some(format!("bytes */{size}"))), "{asked}");
                assert!(answer.body.len() < 1000, "{asked}");
            }
        }
    };
    for (asked, due) in &table {
        let answer = ask(&|request| request.header("Range", asked));
        check(asked, &answer, due);
        let head = Request { method: "HEAD".to_owned(), ..gate.download() }.header("Range", asked);
        assert_eq!(gate.store.send(&head).status, 200, "a range is for GET: {asked}");
        // With the tag of other bytes, the beginning of the requester may be of another file.
        let stale = ask(&|request| request.header("Range", asked).header("If-Range", "\"other\""));
        check(asked, &stale, &Whole);
        let fresh = ask(&|request| request.header("Range", asked).header("If-Range", &tag));
        check(asked, &fresh, due);
    }
    let twice = ask(&|request| request.header("Range", "bytes=0-1").header("Range", "bytes=0-1"));
    check("two headers", &twice, &Whole);
    println!("{} kinds of ranges, four ways each", table.len());
}

#[test]
fn attack_many_ranges_at_once_take_no_memory() {
    let gate = Gate::on(Setup::default(), 24_000_000);
    assert_eq!(gate.store.send(&gate.download()).status, 200);
    let before = gate.store.memory();
    let peak = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..24)
            .map(|reader| {
                let gate = &gate;
                scope.spawn(move || {
                    let request = gate.download().header("Range", &format!("bytes={}-", reader * 500_000));
                    let answer = gate.store.send(&request);
                    assert_eq!(answer.status, 206);
                    gate.store.memory()
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a part")).max().unwrap_or_default()
    });
    println!("24 ranges of a 24 MB file at once: memory {before} KiB before, {peak} KiB at most");
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at most");
}
