//! A receipt as a page of QR codes.

use std::fmt::Write as _;

use anyhow::Context as _;
use qrcodegen::{QrCode, QrCodeEcc};
use schema::parcel::{Receipt, pages};

/// Empty modules around a code, as the standard demands.
const BORDER: i32 = 4;
const STYLE: &str = "body{font:1rem/1.5 sans-serif;margin:2rem auto;max-width:44rem;color:#000;background:#fff}\
                     figure{margin:2rem 0;break-inside:avoid}svg{display:block;width:100%}";

/// The page as HTML, and how many codes it has.
pub(super) fn page(receipt: &Receipt, file: &[u8]) -> anyhow::Result<(String, usize)> {
    let texts = pages(file);
    let count = texts.len();
    let store = receipt.store.replace('&', "&amp;").replace('<', "&lt;");
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Receipt of {store}</title><style>{STYLE}</style>\n\
         <h1>Receipt of {store}</h1>\n<p>Generation {}, written {}. Scan all {count} codes, in any order, into one text file, a \
         line each. On the connected host, <code>proxy fetch-store STORE --for FILE</code> takes this file.</p>\n",
        receipt.generation, receipt.time
    );
    for (number, text) in (1..).zip(&texts) {
        let code = QrCode::encode_text(text, QrCodeEcc::Low).context("cannot make a QR code")?;
        let code = drawn(&code, number);
        let _ = writeln!(html, "<figure>{code}<figcaption>{number} of {count}</figcaption></figure>");
    }
    Ok((html + "</html>\n", count))
}

/// The code as SVG: a line for each run of dark modules.
fn drawn(code: &QrCode, number: i32) -> String {
    let (size, mut path) = (code.size(), String::new());
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let length = (x..size).take_while(|x| code.get_module(*x, y)).count();
            if length > 0 {
                let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
            }
            x += i32::try_from(length).unwrap_or(size) + 1;
        }
    }
    let (low, whole) = (-BORDER, size + 2 * BORDER);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"QR code {number}\" viewBox=\"{low} {low} {whole} {whole}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M{low} {low}h{whole}v{whole}h-{whole}z\"/><path d=\"{path}\"/></svg>"
    )
}
