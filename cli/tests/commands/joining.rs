//! Letting machines in, and what the issuer vouches for.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use shoal_protocol::api::{
    InvitationRequest, InvitationView, JoinerView, LabelRequest, LabelView, Listing, SCHEMA, schema,
};
use shoal_protocol::certificate::Role;

use crate::fake::{Fake, Reply};
use crate::fixtures::NAS;

fn invitation(ticket: Option<&str>) -> InvitationView {
    InvitationView {
        schema: schema(),
        id: "3f2a".repeat(8),
        ticket: ticket.map(str::to_owned),
        role: Role::Edge,
        labels: BTreeMap::from([("site".to_owned(), "a".to_owned())]),
        name: None,
        expires_unix_s: 1_700_000_000,
        uses: 2,
        used: vec![NAS],
        approve: true,
    }
}

#[test]
fn an_invitation_prints_its_ticket_and_nothing_else_on_standard_output() {
    let daemon = Fake::new().on("POST /v1/invitations", Reply::json(&invitation(Some("shoal1abc"))));

    let ran = daemon.run(&["invite", "--role", "cloud", "--label", "site=a", "--ttl", "2h", "--uses", "2"]);

    assert_eq!((ran.code, ran.out.as_str()), (0, "shoal1abc\n"));
    assert_snapshot!(ran.err, @r"
    good for 2 machines, for 2h 0m; whoever sees it can use it (shoal mesh invitations)
    → on the other machine: shoal join -   and paste it
    ");
    let asked: InvitationRequest = daemon.asked()[0].json();
    assert_eq!((asked.role, asked.ttl_s, asked.uses, asked.approve), (Role::Cloud, 7_200, 2, false));
    assert_eq!(asked.life_s, Some(30 * 86_400));
}

#[test]
fn invitations_and_joiners_are_listed_without_secrets() {
    let joiner = JoinerView {
        number: 1,
        invitation: "3f2a".repeat(8),
        words: "faint bamboo alley win census cradle".into(),
        name: "cam-17".into(),
        peer: NAS,
        address: "192.0.2.7:41234".into(),
    };
    let daemon = Fake::new()
        .on("GET /v1/invitations", Reply::json(&Listing::new(vec![invitation(None)])))
        .on("GET /v1/joiners", Reply::json(&Listing::new(vec![joiner])));

    let invitations = daemon.run(&["mesh", "invitations"]);
    let joiners = daemon.run(&["mesh", "joiners"]);
    let json = daemon.run(&["mesh", "joiners", "--json"]);

    assert_snapshot!(invitations.out, @r"
    ID        ROLE  NAME  LABELS  USED  GOOD FOR  ASKS
    3f2a3f2a  edge  -     site=a  1/2   expired   yes
    ");
    assert_snapshot!(joiners.out, @r"
    NUMBER  NAME    ADDRESS          KEY       SIX WORDS
    1       cam-17  192.0.2.7:41234  4a4a4a4a  faint bamboo alley win census cradle
    ");
    assert!(json.out.contains(SCHEMA) && json.out.contains("faint bamboo"), "{}", json.out);
}

#[test]
fn labels_are_added_and_taken_away() {
    let view = LabelView {
        schema: schema(),
        peer: NAS,
        name: "nas".into(),
        role: Role::Edge,
        labels: BTreeMap::from([("room".to_owned(), "3".to_owned())]),
        delivered: false,
        expires_unix_s: 1_700_000_000,
    };
    let daemon = Fake::new().on("POST /v1/peers/nas/label", Reply::json(&view));

    let ran = daemon.run(&["peer", "label", "nas", "room=3", "site-"]);

    assert_eq!((ran.code, ran.out.as_str()), (0, "nas edge room=3\n"));
    assert_eq!(ran.err, "nas is not connected: it gets its certificate when it connects\n");
    let asked: LabelRequest = daemon.asked()[0].json();
    assert_eq!(asked.set, BTreeMap::from([("room".to_owned(), "3".to_owned())]));
    assert_eq!(asked.remove, ["site"]);
    let wrong = daemon.run(&["peer", "label", "nas", "site"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("expected key=value or key-"), "{}", wrong.err);
}
