//! A store whose pages are open, and a browser to the byte: it keeps its cookie and says where its forms come from.

use std::net::SocketAddr;

use crate::device::{Action, Device, Installed, Snapd, Wanted};
use crate::http::{Connection, Request, Response};
use crate::server::{Server, Setup};
use crate::world::{Brand, Snap, World};

/// A store of `hello`, revision 1 in stable and 2 in candidate, with a certificate of its own authority and the pages open.
pub struct Screen {
    /// Who signs.
    pub world: World,
    /// The devices' brand.
    pub brand: Brand,
    /// The snap.
    pub hello: Snap,
    /// The store.
    pub store: Server,
    /// Its authority, as PEM.
    pub ca: String,
    /// Where the pages are.
    pub address: SocketAddr,
}

impl Screen {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let (world, store) = (World::new(), setup.config("proxy.port.https", "0").start());
        store.trust(&world);
        let brand = world.brand("acme");
        let hello = world.snap("hello").publisher("acme");
        store.push_brand(&brand);
        store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
        store.push_pair(&hello.revision(2), &["latest/candidate"], "AcmeStore");
        store.push_store("AcmeStore", "acme", &[&hello]);
        let _ = store.proxy(&["ca", "init"]).ok();
        let _ = store.proxy(&["ca", "issue-server"]).ok();
        let ca = store.proxy(&["ca", "show"]).ok();
        // Simulated devices come over plain HTTP, as through a front.
        let url = format!("proxy.public-url={}", store.url);
        let _ = store.proxy(&["config", &url]).ok();
        let _ = store.proxy(&["config", "proxy.admin.address=127.0.0.1:0", "proxy.admin.pages=True"]).ok();
        let address = Self::address_of(&store);
        Self { world, brand, hello, store, ca, address }
    }

    /// Where the pages of a store are.
    ///
    /// # Panics
    /// When the admin address is closed.
    #[must_use]
    pub fn address_of(store: &Server) -> SocketAddr {
        let address = store.status().admin_address.expect("the admin address is open");
        address.trim_start_matches("https://").parse().expect("an address")
    }

    /// A device that runs revision 1 from stable, and was seen.
    ///
    /// # Panics
    /// When it gets no answer.
    pub fn device(&self, serial: &str) -> Device {
        let identity = self.brand.device(&self.brand.model_in("gateway", "AcmeStore"), serial);
        let mut device = Device::new(&self.store, Snapd::V2_77, &identity).trusting(&self.world);
        device.installed = vec![Installed::new("hello", &self.hello.id, 1, "latest/stable")];
        let id = device.installed[0].instance_key.clone();
        let _ = device.act_on_one(Action::Refresh(id, Wanted::default())).expect("a refresh");
        device
    }

    /// A browser that nobody let in.
    #[must_use]
    pub fn stranger(&self) -> Browser<'_> {
        Browser { screen: self, cookie: None }
    }

    /// A browser that a link of `proxy open` let in.
    ///
    /// # Panics
    /// When it is not let in.
    #[must_use]
    pub fn browser(&self) -> Browser<'_> {
        let mut browser = self.stranger();
        let opened = browser.post("/pages/open", &[("link", &self.link())]);
        assert_eq!(opened.header("Location"), Some("/pages/now"), "{opened:?}");
        browser
    }

    /// What a link of `proxy open` holds.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn link(&self) -> String {
        let link = self.store.proxy(&["open"]).ok();
        link.trim().rsplit('/').next().expect("a link").to_owned()
    }

    /// What a link that the holder of a login asked for holds.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn link_of(&self, token: &str) -> String {
        let request = Request::new("POST", "/v1/page-links", "store")
            .header("Authorization", &format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(b"{}");
        let mut connection = Connection::open_tls(self.address, &self.ca).expect("the admin API listens");
        let made = connection.exchange(&request).expect("an answer").json();
        made["url"].as_str().and_then(|url| url.rsplit('/').next()).expect("a link").to_owned()
    }

    /// A browser that a service login let in.
    ///
    /// # Panics
    /// When it is not let in.
    #[must_use]
    pub fn holder(&self, token: &str) -> Browser<'_> {
        let mut browser = self.stranger();
        let opened = browser.post("/pages/login", &[("login", token)]);
        assert_eq!(opened.header("Location"), Some("/pages/now"), "{opened:?}");
        browser
    }
}

/// A browser.
pub struct Browser<'a> {
    screen: &'a Screen,
    /// Its cookie, as it sends it.
    pub cookie: Option<String>,
}

impl Browser<'_> {
    /// Sends a request as it is, with the cookie.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn send(&mut self, request: Request) -> Response {
        let request = match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        };
        let mut port =
            Connection::open_tls(self.screen.address, &self.screen.ca).expect("the pages are open");
        let answer = port.exchange(&request).expect("an answer");
        if let Some(set) = answer.header("Set-Cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// Asks for a page.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(Request::new("GET", target, &self.host()))
    }

    /// The text of a page that is there.
    ///
    /// # Panics
    /// When it is not.
    pub fn page(&mut self, target: &str) -> String {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        answer.text()
    }

    /// Sends a form as one of the store's own pages.
    pub fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        let own = format!("https://{}", self.host());
        self.post_from(target, fields, &[("Sec-Fetch-Site", "same-origin"), ("Origin", &own)])
    }

    /// Sends a form with these headers about where it comes from.
    pub fn post_from(&mut self, target: &str, fields: &[(&str, &str)], from: &[(&str, &str)]) -> Response {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let request = Request::new("POST", target, &self.host())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(pairs.join("&").as_bytes());
        let request = from.iter().fold(request, |request, (name, value)| request.header(name, value));
        self.send(request)
    }

    /// What the form of a page that is about something is based on.
    ///
    /// # Panics
    /// When there is no such form.
    pub fn standing(&mut self, page: &str, about: &str) -> String {
        let shown = self.page(page);
        let is_about = |form: &&str| form.contains(&format!("value=\"{about}\""));
        field(forms(&shown).into_iter().find(is_about).expect("a form about it"), "standing")
    }

    /// The host that the browser names.
    #[must_use]
    pub fn host(&self) -> String {
        self.screen.address.to_string()
    }
}

/// The forms of a page that change something.
#[must_use]
pub fn forms(page: &str) -> Vec<&str> {
    let forms = page.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap_or_default());
    forms.filter(|form| form.contains("method=\"post\"")).collect()
}

/// The hidden field of a form.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn field(form: &str, name: &str) -> String {
    let value =
        form.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|from| from.split('"').next());
    value.unwrap_or_else(|| panic!("no {name} in {form}")).to_owned()
}
