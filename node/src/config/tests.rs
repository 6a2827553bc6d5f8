//! What a person may write, and what they are told when it is wrong.

use std::io::Write;
use std::path::PathBuf;

use shoal_protocol::certificate::{Issuer, MemberCertificate, SecretKey};

use super::settings::{KEYS, Settings};
use super::*;

fn host() -> Host {
    Host {
        uid: 1000,
        home: Some("/home/ada".into()),
        xdg_config_home: None,
        xdg_data_home: None,
        xdg_runtime_dir: Some("/run/user/1000".into()),
        cores: 4,
        memory_bytes: 8 * 1024 * 1024 * 1024,
    }
}

fn sources() -> Sources {
    Sources { host: host(), files: Vec::new(), files_required: false, variables: Vec::new(), flags: Flags::default() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Loads one file and returns what is wrong with it.
#[track_caller]
fn faults(text: &str) -> Vec<Fault> {
    let file = file(text);
    let loaded = load(&Sources { files: vec![file.path().to_owned()], ..sources() });
    loaded.expect_err("the configuration is wrong").faults
}

fn origin_of(view: &ConfigView, key: &str) -> String {
    view.values.iter().find(|value| value.key == key).unwrap().origin.clone()
}

#[test]
fn defaults_alone_are_a_configuration() {
    let (config, view) = load(&sources()).unwrap();

    assert_eq!(config.cores, 4);
    assert_eq!(config.memory_bytes, 4 * 1024 * 1024 * 1024);
    assert_eq!(config.data_dir, PathBuf::from("/home/ada/.local/share/shoal"));
    assert_eq!(config.node_key, PathBuf::from("/home/ada/.local/share/shoal/node.key"));
    assert_eq!(config.socket, PathBuf::from("/run/user/1000/shoal/shoald.sock"));
    assert!(view.values.iter().all(|value| value.origin == "default"), "{view:?}");
}

/// A file is a configuration or it is told what is wrong with it, whatever stands in it.
#[test]
fn no_text_makes_reading_a_configuration_panic() {
    use rand::SeedableRng;
    let (_, view) = load(&sources()).unwrap();
    let whole: String = view.values.iter().map(|value| format!("{} = {}\n", value.key, value.value)).collect();
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(1);
    let path = file(&whole);
    let read = || load(&Sources { files: vec![path.path().to_owned()], ..sources() });
    assert!(read().is_ok(), "{whole}");

    for _ in 0..1_000 {
        std::fs::write(path.path(), shoal_fuzz::mutated(&mut rng, whole.as_bytes(), whole.as_bytes())).unwrap();
        if let Err(error) = read() {
            assert!(!error.faults.is_empty() && !error.to_string().is_empty());
        }
    }
}

#[test]
fn every_key_is_listed_once_and_in_the_order_of_the_sections() {
    fn paths(value: &toml::Value, prefix: &str, found: &mut Vec<String>) {
        for (name, value) in value.as_table().unwrap() {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if value.is_table() { paths(value, &path, found) } else { found.push(path) }
        }
    }
    let mut fields = Vec::new();
    paths(&toml::Value::try_from(Settings::defaults(&host())).unwrap(), "", &mut fields);
    let mut keys: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    fields.sort();
    keys.sort();

    assert_eq!(fields, keys);
}

#[test]
fn flags_beat_variables_beat_later_files_beat_earlier_ones() {
    let system = file("[node]\nname = \"a\"\nrole = \"edge\"\n[capacity]\ncores = 1\nmax_queue = 9\n");
    let user = file("[capacity]\ncores = 2\nmemory = \"1Gi\"\n[node]\nname = \"b\"\n");
    let sources = Sources {
        files: vec![system.path().to_owned(), user.path().to_owned()],
        variables: vec![
            ("SHOAL_NODE_NAME".into(), "c".into()),
            ("SHOAL_CAPACITY__CORES".into(), "3".into()),
            ("SHOAL_NET_BOOTSTRAP".into(), "/ip4/192.0.2.1/udp/7600/quic-v1, /dns/a.example/udp/1/quic-v1".into()),
            ("SHOAL_PLACEMENT_WEIGHTS_DELAY".into(), "2".into()),
            ("PATH".into(), "/bin".into()),
        ],
        flags: Flags { name: Some("d".into()), ..Flags::default() },
        ..sources()
    };

    let (config, view) = load(&sources).unwrap();

    assert_eq!(config.name.as_deref(), Some("d"));
    assert_eq!((config.cores, config.queue_max, config.memory_bytes), (3, 9, 1 << 30));
    assert_eq!(config.bootstrap.len(), 2);
    assert_eq!((config.weights.delay, config.weights.transfer), (2.0, 1.0));
    assert_eq!(origin_of(&view, "node.name"), "flag --name");
    assert_eq!(origin_of(&view, "node.role"), format!("{}:3", system.path().display()));
    assert_eq!(origin_of(&view, "capacity.cores"), "SHOAL_CAPACITY__CORES");
    assert_eq!(origin_of(&view, "capacity.max_queue"), format!("{}:6", system.path().display()));
    assert_eq!(origin_of(&view, "capacity.memory"), format!("{}:3", user.path().display()));
    assert_eq!(origin_of(&view, "net.mdns"), "default");
}

#[test]
fn a_mistyped_key_is_told_with_its_line_and_the_right_one() {
    let faults = faults("[node]\nnmae = \"x\"\n\n[capacty]\ncores = 2\n\n[net]\ncores = 2\n");

    let told: Vec<_> = faults.iter().map(|fault| (fault.what.as_str(), fault.fix.as_str())).collect();
    assert_eq!(
        told,
        [
            ("unknown key `capacty`", "did you mean `capacity`?"),
            ("unknown key `net.cores`", "did you mean `capacity.cores`?"),
            ("unknown key `node.nmae`", "did you mean `node.name`?"),
        ]
    );
    assert!(faults[2].origin.ends_with(".toml:2"), "{}", faults[2].origin);
}

#[test]
fn a_mistyped_variable_is_told_too() {
    for (name, meant) in [("SHOAL_NDOE_NAME", "SHOAL_NODE_NAME"), ("SHOAL_CAPACITY_CORE", "SHOAL_CAPACITY_CORES")] {
        let error = load(&Sources { variables: vec![(name.into(), "x".into())], ..sources() }).unwrap_err();

        assert!(error.to_string().contains(meant), "{error}");
    }
    let foreign = vec![("SHOAL_OF_FISH".into(), "x".into()), ("SHOAL_CONFIG".into(), "x".into())];
    assert!(load(&Sources { variables: foreign, ..sources() }).is_ok());
}

#[test]
fn all_bad_values_are_told_at_once() {
    let faults = faults(
        "[node]\nrole = \"boss\"\n[net]\nlisten = [\"0.0.0.0:7600\"]\nbootstrap = [\"/ip4/1.2.3/udp/1/quic-v1\"]\n\
         max_peers = 0\ncongestion = \"reno\"\nuplink_share = 2\n[capacity]\ncores = -1\nmemory = \"lots\"\n[placement]\nlambda = -1.0\ncloud = \"maybe\"\n\
         uplink = \"fast\"\n[telemetry]\nformat = \"xml\"\nlog = \"shoal=loud\"\n[api]\nlisten = \"tcp:1\"\n\
         [testnet]\nslowdown = 0.5\n",
    );

    let keys: Vec<_> = faults.iter().filter_map(|fault| fault.what.split('`').nth(1)).collect();
    for key in [
        "node.role",
        "net.listen",
        "net.bootstrap",
        "net.max_peers",
        "net.congestion",
        "net.uplink_share",
        "capacity.cores",
        "capacity.memory",
        "placement.lambda",
        "placement.cloud",
        "placement.uplink",
        "telemetry.format",
        "telemetry.log",
        "api.listen",
        "testnet.slowdown",
    ] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    assert!(faults.iter().all(|fault| !fault.fix.is_empty() && fault.origin.contains(".toml:")), "{faults:#?}");
}

#[test]
fn a_value_of_the_wrong_type_names_its_key() {
    for (text, key) in [
        ("[capacity]\ncores = \"two\"\n", "capacity.cores"),
        ("[net]\nmdns = 3\n", "net.mdns"),
        ("[capacity]\nmemory = true\n", "capacity.memory"),
        ("node = 1\n", "node"),
    ] {
        let faults = faults(text);

        assert!(faults.iter().any(|fault| fault.what.contains(&format!("`{key}`"))), "{faults:?}");
    }
}

#[test]
fn what_is_not_toml_points_at_the_line() {
    let faults = faults("[node]\nname = \n");

    assert!(faults[0].what.contains("line 2"), "{faults:?}");
    assert!(faults[0].origin.ends_with(".toml"), "{faults:?}");
}

#[test]
fn a_named_file_must_exist_and_a_default_one_need_not() {
    let missing = vec![PathBuf::from("/nonexistent/shoal.toml")];

    assert!(load(&Sources { files: missing.clone(), ..sources() }).is_ok());
    let error = load(&Sources { files: missing, files_required: true, ..sources() }).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/shoal.toml"), "{error}");
}

#[test]
fn the_key_is_made_once_and_belongs_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (mut config, _) = load(&sources()).unwrap();
    config.node_key = dir.path().join("node.key");
    config.certificate = dir.path().join("member.cert");

    let first = Identity::load(&config, 1_700_000_000).unwrap_err();

    let IdentityError::NoCertificate { peer, .. } = &first else { panic!("{first:?}") };
    assert!(first.hint().contains("shoal mesh init") && first.hint().contains("shoal mesh admit"));
    assert_eq!(std::fs::metadata(&config.node_key).unwrap().permissions().mode() & 0o777, 0o600);
    let mesh_key = SecretKey::from_bytes(&[1; 32]);
    let certificate = MemberCertificate {
        mesh: mesh_key.mesh(),
        peer: *peer,
        name: "cam-17".into(),
        role: Role::Edge,
        labels: Default::default(),
        not_before_unix_s: 0,
        expires_unix_s: 2_000_000_000,
        serial: 1,
    };
    std::fs::write(&config.certificate, certificate.sign(&Issuer::of(&mesh_key)).to_bytes()).unwrap();
    let identity = Identity::load(&config, 1_700_000_000).unwrap();
    assert_eq!((identity.mesh, identity.certificate.peer), (mesh_key.mesh(), *peer));

    config.role = Some(Role::Cloud);
    assert!(matches!(Identity::load(&config, 1_700_000_000), Err(IdentityError::Contradiction { .. })));
    config.role = None;
    assert!(matches!(Identity::load(&config, 2_000_000_000), Err(IdentityError::BadCertificate { .. })));
    std::fs::write(&config.certificate, b"garbage").unwrap();
    assert!(matches!(Identity::load(&config, 1_700_000_000), Err(IdentityError::BadCertificate { .. })));
    std::fs::write(&config.node_key, b"short").unwrap();
    assert!(matches!(Identity::load(&config, 1_700_000_000), Err(IdentityError::Key(_))));
    std::fs::set_permissions(&config.node_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Identity::load(&config, 1_700_000_000), Err(IdentityError::Key(_))));
}
