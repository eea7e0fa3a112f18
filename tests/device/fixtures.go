// Command fixtures makes what the device test needs, signed by snapd's own code:
//
//	fixtures make DIR URL HTTPS-URL SERVICE-URL ARCH    snaps, assertions, stores and devices
//	fixtures relay FROM TO LOG RATE-FILE                a slow wire that keeps a record
//	fixtures device-service ADDRESS DIR                 a brand's own, which signs serials
//	fixtures account-key REQUEST                        what the public store makes of a key's request
//	fixtures users STREAM BRAND MODEL SERIAL            whom a device makes of a stream of system-users
//
// Chain of trust: snapd's public test root -> test store key -> accounts,
// declarations, revisions, the store assertion; brand key -> model, serial,
// validation sets. Brand and device keys are new each time and thrown away.
//
// DIR gets (each .assert is a stream with everything it needs, in order):
//
//	root.assert                what `proxy trust add` takes
//	keys.assert                both brands' accounts and keys
//	store.assert               what `proxy register --import` takes
//	https.assert               the same store at HTTPS-URL
//	fleet_1.assert, fleet_2.assert    two sequences of one validation set
//	acme.json, bolt.json       brand store metadata
//	snaps/NAME_REV.snap, .assert
//	device-NAME/               goes over a device's /var/lib/snapd: acme and bolt have
//	                           serials, direct and relayed ask SERVICE-URL for them,
//	                           line the store, and gate URL as its device service
//	service/                   the key that the device service signs with
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/snapcore/snapd/asserts"
	"github.com/snapcore/snapd/asserts/assertstest"
	"github.com/snapcore/snapd/asserts/systestkeys"
)

const (
	authority = "testrootorg"
	signedAt  = "2024-05-06T07:08:09Z"
	storeID   = "AirlockDeviceTest"
	// what the gadget makes devices send along to the device service
	lineHeader, line = "X-Factory-Line", "line 7"
	apiKey           = "a-long-secret-of-the-gate"
)

type headers = map[string]interface{}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type maker struct {
	dir   string
	known *asserts.Database // all that was signed; refuses what a device would refuse
	root  *assertstest.SigningDB
	store *assertstest.SigningDB
}

func (m *maker) write(name string, content []byte) {
	path := filepath.Join(m.dir, name)
	check(os.MkdirAll(filepath.Dir(path), 0755))
	check(os.WriteFile(path, content, 0644))
}

func (m *maker) writeJSON(name string, value interface{}) {
	content, err := json.Marshal(value)
	check(err)
	m.write(name, content)
}

func (m *maker) sign(by *assertstest.SigningDB, kind *asserts.AssertionType, h headers, body []byte) asserts.Assertion {
	h["timestamp"] = signedAt
	if kind.PrimaryKey[0] == "series" {
		h["series"] = "16"
	}
	a, err := by.Sign(kind, h, body, "")
	check(err)
	check(m.known.Add(a))
	return a
}

// stream joins the given assertions and all that is needed to check them,
// prerequisites first; the built-in root of trust is left out.
func (m *maker) stream(wanted ...asserts.Assertion) []byte {
	var out bytes.Buffer
	enc := asserts.NewEncoder(&out)
	done := map[string]bool{}
	var add func(a asserts.Assertion)
	need := func(ref *asserts.Ref) {
		a, err := ref.Resolve(m.known.Find)
		check(err)
		add(a)
	}
	for _, a := range systestkeys.Trusted {
		done[a.Ref().Unique()] = true
	}
	add = func(a asserts.Assertion) {
		if done[a.Ref().Unique()] {
			return
		}
		done[a.Ref().Unique()] = true
		for _, ref := range a.Prerequisites() {
			need(ref)
		}
		need(&asserts.Ref{Type: asserts.AccountKeyType, PrimaryKey: []string{a.SignKeyID()}})
		check(enc.Encode(a))
	}
	for _, a := range wanted {
		add(a)
	}
	return out.Bytes()
}

// snapID is the name, filled up to the length that ids have.
func snapID(name string) string {
	return (strings.ReplaceAll(name, "-", "") + strings.Repeat("0", 32))[:32]
}

// account makes a brand: its account and the key it signs with.
func (m *maker) account(id string) (asserts.PrivateKey, *assertstest.SigningDB, asserts.Assertion) {
	m.sign(m.store, asserts.AccountType, headers{
		"account-id": id, "display-name": strings.Title(id), "username": id, "validation": "verified",
	}, nil)
	key, _ := assertstest.GenerateKey(4096)
	public, err := asserts.EncodePublicKey(key.PublicKey())
	check(err)
	a := m.sign(m.root, asserts.AccountKeyType, headers{
		"account-id": id, "name": "default", "public-key-sha3-384": key.PublicKey().ID(), "since": signedAt,
	}, public)
	return key, assertstest.NewSigningDB(id, key), a
}

type snap struct {
	name, kind, publisher string
	revisions             int
	payload               int    // bytes that do not compress
	component             string // what it may have a component of, where this snapd knows them
}

// make writes every revision of a snap; revision N has version N.0.
func (m *maker) snap(s snap) {
	h := headers{"snap-id": snapID(s.name), "snap-name": s.name, "publisher-id": s.publisher}
	if s.kind == "snapd" { // or its own slot for this would keep it from being installed
		h["slots"] = headers{"shared-memory": headers{"allow-installation": "true"}}
		h["format"] = "1"
	}
	m.sign(m.store, asserts.SnapDeclarationType, h, nil)
	for rev := 1; rev <= s.revisions; rev++ {
		tree := filepath.Join(m.dir, "tree")
		check(os.MkdirAll(filepath.Join(tree, "meta"), 0755))
		yaml := fmt.Sprintf("name: %s\nversion: '%d.0'\ntype: %s\nsummary: Test snap %s\n"+
			"description: Made for the device test.\nlicense: MIT\nconfinement: strict\ngrade: stable\n",
			s.name, rev, s.kind, s.name)
		if s.kind == "app" {
			yaml += "base: test-base\n"
		}
		if s.component != "" {
			yaml += fmt.Sprintf("components:\n  %s:\n    type: standard\n", s.component)
		}
		m.write("tree/meta/snap.yaml", []byte(yaml))
		if s.kind == "snapd" {
			m.write("tree/usr/lib/snapd/info", []byte("VERSION=1.0\n"))
		}
		if s.kind == "gadget" {
			m.write("tree/meta/gadget.yaml", nil)
		}
		payload := make([]byte, s.payload)
		rand.New(rand.NewSource(1)).Read(payload)
		// what no two revisions share
		rand.New(rand.NewSource(int64(rev))).Read(payload[len(payload)*9/10:])
		m.write("tree/payload", payload)

		base := filepath.Join(m.dir, "snaps", fmt.Sprintf("%s_%d", s.name, rev))
		check(os.MkdirAll(filepath.Dir(base), 0755))
		digest, size := m.pack(tree, base+".snap")
		wanted := []asserts.Assertion{m.sign(m.store, asserts.SnapRevisionType, headers{
			"snap-sha3-384": digest, "snap-size": size, "snap-id": snapID(s.name),
			"snap-revision": strconv.Itoa(rev), "developer-id": s.publisher,
		}, nil)}
		if s.component != "" && asserts.Type("snap-resource-pair") != nil {
			wanted = append(wanted, m.component(s, strconv.Itoa(rev))...)
		}
		check(os.WriteFile(base+".assert", m.stream(wanted...), 0644))
	}
}

// pack makes a file of a folder, removes the folder, and says the file's digest and size.
func (m *maker) pack(tree, file string) (digest, size string) {
	args := []string{tree, file, "-noappend", "-comp", "xz", "-no-fragments", "-all-root", "-no-xattrs", "-quiet", "-no-progress"}
	if payload, err := os.Stat(filepath.Join(tree, "payload")); err == nil && payload.Size() > 1<<20 {
		args = append(args, "-noD") // it takes long, and does not compress
	}
	out, err := exec.Command("mksquashfs", args...).CombinedOutput()
	if err != nil {
		log.Fatalf("mksquashfs: %v: %s", err, out)
	}
	check(os.RemoveAll(tree))
	digest, bytes, err := asserts.SnapFileSHA3_384(file)
	check(err)
	return digest, strconv.FormatUint(bytes, 10)
}

// component makes a component of the same number as its snap's revision.
func (m *maker) component(s snap, rev string) []asserts.Assertion {
	tree := filepath.Join(m.dir, "tree")
	m.write("tree/meta/component.yaml", []byte(fmt.Sprintf(
		"component: %s+%s\ntype: standard\nversion: %s.0\nsummary: Test component\ndescription: Made for the device test.\n",
		s.name, s.component, rev)))
	digest, size := m.pack(tree, filepath.Join(m.dir, "snaps", fmt.Sprintf("%s+%s_%s.comp", s.name, s.component, rev)))
	return []asserts.Assertion{
		m.sign(m.store, asserts.Type("snap-resource-revision"), headers{
			"snap-id": snapID(s.name), "resource-name": s.component, "resource-sha3-384": digest, "resource-size": size,
			"resource-revision": rev, "developer-id": s.publisher,
		}, nil),
		m.sign(m.store, asserts.Type("snap-resource-pair"), headers{
			"snap-id": snapID(s.name), "resource-name": s.component, "resource-revision": rev, "snap-revision": rev,
			"developer-id": s.publisher,
		}, nil),
	}
}

// box is the model of a brand's devices.
func (m *maker) box(brand string, by *assertstest.SigningDB, brandStore, arch string) asserts.Assertion {
	return m.sign(by, asserts.ModelType, headers{
		"brand-id": brand, "model": brand + "-box", "classic": "true", "architecture": arch, "store": brandStore,
	}, nil)
}

// device lays out what makes a device of the brand, with this serial, out of an untouched snapd.
func (m *maker) device(name, brand, serialNumber string, by *assertstest.SigningDB, model asserts.Assertion) {
	key, _ := assertstest.GenerateKey(2048)
	public, err := asserts.EncodePublicKey(key.PublicKey())
	check(err)
	serial := m.sign(by, asserts.SerialType, headers{
		"brand-id": brand, "model": brand + "-box", "serial": serialNumber,
		"device-key": string(public), "device-key-sha3-384": key.PublicKey().ID(),
	}, nil)
	dir := "device-" + name
	m.write(dir+"/seed/assertions/device", m.stream(model, serial))
	keys, err := asserts.OpenFSKeypairManager(filepath.Join(m.dir, dir, "device"))
	check(err)
	check(keys.Put(key))
	m.writeJSON(dir+"/state.json", headers{
		"data": headers{
			"auth": headers{"device": headers{
				"brand": brand, "model": brand + "-box", "serial": serialNumber, "key-id": key.PublicKey().ID(),
			}},
			"patch-level": 6,
		},
		"changes": headers{}, "tasks": headers{},
	})
}

// unregistered lays out a device that has no serial. Its state is as a hook of its
// gadget leaves it, since hooks do not run in these containers.
func (m *maker) unregistered(name, brand string, by *assertstest.SigningDB, brandStore string, config headers, arch string) {
	model := m.sign(by, asserts.ModelType, headers{
		"brand-id": brand, "model": brand + "-" + name, "classic": "true", "architecture": arch, "store": brandStore,
		"gadget": "kiosk",
	}, nil)
	m.write("device-"+name+"/seed/assertions/device", m.stream(model))
	m.writeJSON("device-"+name+"/state.json", headers{
		"data": headers{
			"config":      headers{"kiosk": config},
			"patch-level": 6,
		},
		"changes": headers{}, "tasks": headers{},
	})
}

// brandStore writes what `proxy push-brand-store-metadata` takes.
func (m *maker) brandStore(brand, id string, snaps ...string) {
	list := []headers{}
	for _, name := range []string{"snapd", "test-base"} {
		list = append(list, headers{"id": snapID(name), "name": name, "essential": true, "private": false, "store": "ubuntu"})
	}
	for _, name := range snaps {
		list = append(list, headers{"id": snapID(name), "name": name, "essential": false, "private": true, "store": id})
	}
	for _, s := range list {
		s["other-stores"], s["included-stores"], s["users"] = []string{}, []string{}, []string{}
	}
	m.writeJSON(brand+".json", headers{
		"format": 1,
		"stores": []headers{{
			"id": id, "brand-id": brand, "name": strings.Title(brand) + " Devices", "private": true, "parent": nil,
			"store-whitelist": []string{}, "allowed-inclusion-source-stores": []string{},
			"allowed-inclusion-target-stores": []string{},
		}},
		"snaps": headers{id: list},
	})
}

func (m *maker) validationSet(by *assertstest.SigningDB, sequence int, snaps ...interface{}) {
	a := m.sign(by, asserts.ValidationSetType, headers{
		"account-id": "acme", "name": "fleet", "sequence": strconv.Itoa(sequence), "snaps": snaps,
	}, nil)
	m.write(fmt.Sprintf("fleet_%d.assert", sequence), m.stream(a))
}

func makeAll(dir, url, httpsURL, serviceURL, arch string) {
	rootKey, _ := assertstest.ReadPrivKey(systestkeys.TestRootPrivKey)
	storeKey, _ := assertstest.ReadPrivKey(systestkeys.TestStorePrivKey)
	known, err := asserts.OpenDatabase(&asserts.DatabaseConfig{
		Backstore: asserts.NewMemoryBackstore(), Trusted: systestkeys.Trusted,
	})
	check(err)
	check(known.Add(systestkeys.TestStoreAccountKey))
	m := &maker{
		dir: dir, known: known,
		root:  assertstest.NewSigningDB(authority, rootKey),
		store: assertstest.NewSigningDB(authority, storeKey),
	}
	var root bytes.Buffer
	enc := asserts.NewEncoder(&root)
	for _, a := range systestkeys.Trusted {
		check(enc.Encode(a))
	}
	m.write("root.assert", root.Bytes())

	secret, acme, acmeKey := m.account("acme")
	_, bolt, boltKey := m.account("bolt")
	keys, err := asserts.OpenFSKeypairManager(filepath.Join(dir, "service"))
	check(err)
	check(keys.Put(secret))
	m.write("service/id", []byte(secret.PublicKey().ID()))
	m.write("keys.assert", m.stream(acmeKey, boltKey))
	for name, h := range map[string]headers{
		"store.assert": {"store": storeID, "operator-id": "acme", "url": url},
		"https.assert": {"store": storeID + "HTTPS", "operator-id": "acme", "url": httpsURL},
	} {
		m.write(name, m.stream(m.sign(m.store, asserts.StoreType, h, nil)))
	}

	m.snap(snap{name: "snapd", kind: "snapd", publisher: "acme", revisions: 1})
	m.snap(snap{name: "test-base", kind: "base", publisher: "acme", revisions: 1})
	m.snap(snap{name: "hello", kind: "app", publisher: "acme", revisions: 4, payload: 100000})
	m.snap(snap{name: "big", kind: "app", publisher: "acme", revisions: 1, payload: 20000000})
	m.snap(snap{name: "tool", kind: "app", publisher: "acme", revisions: 2})
	m.snap(snap{name: "player", kind: "app", publisher: "acme", revisions: 2, component: "codecs"})
	m.snap(snap{name: "kiosk", kind: "gadget", publisher: "acme", revisions: 1})
	m.snap(snap{name: "bolt-tool", kind: "app", publisher: "bolt", revisions: 1})

	m.brandStore("acme", "AcmeDevices", "hello", "big", "tool", "player")
	m.brandStore("bolt", "BoltDevices", "bolt-tool")
	acmeBox := m.box("acme", acme, "AcmeDevices", arch)
	m.device("acme", "acme", "acme-0001", acme, acmeBox)
	m.device("second", "acme", "acme-0002", acme, acmeBox)
	m.device("bolt", "bolt", "bolt-0001", bolt, m.box("bolt", bolt, "BoltDevices", arch))
	service := func(url, header, value string) headers {
		return headers{"device-service": headers{"url": url, "headers": headers{header: value}}}
	}
	for name, config := range map[string]headers{
		"direct":  service(serviceURL, lineHeader, line),
		"relayed": service(serviceURL, lineHeader, line),
		"line":    {"registration": headers{"proposed-serial": "LINE-0042"}},
		"gate":    service(url, "api-key", apiKey),
	} {
		m.unregistered(name, "acme", acme, "AcmeDevices", config, arch)
	}

	m.validationSet(acme, 1, headers{"name": "hello", "id": snapID("hello"), "presence": "required", "revision": "1"})
	m.validationSet(acme, 2, headers{"name": "hello", "id": snapID("hello"), "presence": "required", "revision": "2"},
		headers{"name": "big", "id": snapID("big"), "presence": "invalid"})
}

// accountKey makes of the request for a key what the public store would.
func accountKey(file string) {
	content, err := os.ReadFile(file)
	check(err)
	decoded, err := asserts.Decode(content)
	check(err)
	request := decoded.(*asserts.AccountKeyRequest)
	public, err := asserts.DecodePublicKey(request.Body())
	check(err)
	check(asserts.SignatureCheck(request, public))
	rootKey, _ := assertstest.ReadPrivKey(systestkeys.TestRootPrivKey)
	key, err := assertstest.NewSigningDB(authority, rootKey).Sign(asserts.AccountKeyType, headers{
		"account-id": request.AccountID(), "name": request.Name(), "public-key-sha3-384": request.PublicKeyID(),
		"since": signedAt,
	}, request.Body(), "")
	check(err)
	os.Stdout.Write(asserts.Encode(key))
}

// users prints the users that a device would make of a stream which has all that it needs, by snapd's rules.
func users(file, brand, model, serial string) {
	known, err := asserts.OpenDatabase(&asserts.DatabaseConfig{
		Backstore: asserts.NewMemoryBackstore(), Trusted: systestkeys.Trusted,
	})
	check(err)
	content, err := os.Open(file)
	check(err)
	has := func(list []string, wanted string) bool {
		for _, one := range list {
			if one == wanted {
				return true
			}
		}
		return len(list) == 0
	}
	decoder := asserts.NewDecoder(content)
	for {
		a, err := decoder.Decode()
		if err == io.EOF {
			return
		}
		check(err)
		check(known.Add(a))
		user, ok := a.(*asserts.SystemUser)
		if ok && user.BrandID() == brand && has(user.Series(), "16") && has(user.Models(), model) &&
			has(user.Serials(), serial) && user.ValidAt(time.Now()) {
			fmt.Println(user.Username(), strings.Join(user.SSHKeys(), ","))
		}
	}
}

// deviceService answers as a brand's own service does that gives devices their
// serials; what it was asked and how is in its log.
func deviceService(address, dir string) {
	keys, err := asserts.OpenFSKeypairManager(dir)
	check(err)
	id, err := os.ReadFile(filepath.Join(dir, "id"))
	check(err)
	key, err := keys.Get(string(id))
	check(err)
	brand := assertstest.NewSigningDB("acme", key)
	serial := func(r *http.Request) (asserts.Assertion, error) {
		first, err := asserts.NewDecoder(r.Body).Decode()
		if err != nil {
			return nil, err
		}
		request, ok := first.(*asserts.SerialRequest)
		if !ok || !strings.HasPrefix(request.RequestID(), "request of ") {
			return nil, fmt.Errorf("not a request that was announced: %s", first.Type().Name)
		}
		if err := asserts.SignatureCheck(request, request.DeviceKey()); err != nil {
			return nil, err
		}
		return brand.Sign(asserts.SerialType, headers{
			"brand-id": request.BrandID(), "model": request.Model(), "serial": request.Model() + "-0007",
			"device-key": request.HeaderString("device-key"), "device-key-sha3-384": request.SignKeyID(),
			"timestamp": signedAt,
		}, nil, "")
	}
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s, %s", r.Method, r.URL, r.UserAgent(), r.Header.Get(lineHeader))
		switch {
		case r.Method != "POST" || r.Header.Get(lineHeader) != line:
			http.Error(w, "not a request of this factory", http.StatusForbidden)
		case r.URL.Path == "/v1/request-id":
			check(json.NewEncoder(w).Encode(headers{"request-id": "request of " + time.Now().String()}))
		case r.URL.Path == "/v1/serial":
			a, err := serial(r)
			if err != nil {
				log.Print(err)
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", asserts.MediaType)
			w.Write(asserts.Encode(a))
		default:
			http.NotFound(w, r)
		}
	})))
}

// relay passes bytes on between devices and the server; from the server no faster
// than the number of bytes a second that is in a file, so that a download can be
// broken in the middle. The log gets all that devices send, and the heads of the answers.
func relay(from, to, logName, rateName string) {
	record, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0644)
	check(err)
	listener, err := net.Listen("tcp", from)
	check(err)
	for {
		device, err := listener.Accept()
		check(err)
		go func() {
			defer device.Close()
			server, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer server.Close()
			// what the server has sent is what the device has got, almost
			check(server.(*net.TCPConn).SetReadBuffer(64 << 10))
			go func() {
				io.Copy(io.MultiWriter(server, record), device)
				server.(*net.TCPConn).CloseWrite()
			}()
			chunk := make([]byte, 64<<10)
			for {
				n, err := server.Read(chunk)
				if head := bytes.Index(chunk[:n], []byte("\r\n\r\n")); head > 0 && bytes.HasPrefix(chunk, []byte("HTTP/1.1 ")) {
					record.Write(append([]byte("\r\n"), chunk[:head+4]...))
				}
				if _, failed := device.Write(chunk[:n]); err != nil || failed != nil {
					return
				}
				text, err := os.ReadFile(rateName)
				check(err)
				rate, err := strconv.Atoi(strings.TrimSpace(string(text)))
				check(err)
				time.Sleep(time.Second * time.Duration(n) / time.Duration(rate))
			}
		}()
	}
}

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	switch {
	case len(args) == 6 && args[0] == "make":
		makeAll(args[1], args[2], args[3], args[4], args[5])
	case len(args) == 5 && args[0] == "relay":
		relay(args[1], args[2], args[3], args[4])
	case len(args) == 2 && args[0] == "account-key":
		accountKey(args[1])
	case len(args) == 5 && args[0] == "users":
		users(args[1], args[2], args[3], args[4])
	case len(args) == 3 && args[0] == "device-service":
		deviceService(args[1], args[2])
	default:
		log.Fatal("usage: see the head of this program")
	}
}
