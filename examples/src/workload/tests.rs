use super::*;

#[test]
fn the_same_plan_gives_the_same_items_and_another_seed_others() {
    let plan = Plan::default();

    assert_eq!(five_users(&plan), five_users(&plan));
    assert_ne!(five_users(&plan), five_users(&Plan { seed: 2, ..plan }));
}

#[test]
fn every_user_has_a_stream_in_order_of_arrival() {
    let plan = Plan::default();

    let items = five_users(&plan);

    assert!(items.windows(2).all(|pair| pair[0].arrival_ms <= pair[1].arrival_ms));
    assert!(items.iter().all(|item| item.arrival_ms < plan.length_ms));
    for user in &USERS {
        let own: Vec<&WorkItem> = items.iter().filter(|item| item.user == user.name).collect();
        let usual = plan.length_ms / user.every_ms;
        assert!((usual / 2..=usual * 2).contains(&(own.len() as u64)), "{}: {} items", user.name, own.len());
        assert!((0..).zip(&own).all(|(number, item)| item.number == number));
        assert_ne!(own[0].input, own[1].input, "{}", user.name);
    }
}

#[test]
fn rate_and_work_can_be_changed() {
    let plan = Plan::default();
    let usual = five_users(&plan);

    let busy = five_users(&Plan { rate_percent: 300, work_percent: 50, ..plan });

    assert!(busy.len() > 2 * usual.len(), "{} and {}", busy.len(), usual.len());
    assert_eq!(busy[0].args[0], "--passes");
    assert!(five_users(&Plan { rate_percent: 0, work_percent: 0, ..plan }).len() < 10);
}

#[test]
fn a_long_plan_walks_round_its_data_and_every_item_has_an_answer() {
    let plan = Plan { length_ms: 200_000, work_percent: 0, ..Plan::default() };

    for item in five_users(&plan) {
        for variant in item.variants {
            let answer = item.expected(variant.module);
            assert!(answer.is_ok(), "{} {} {}: {answer:?}", item.user, item.number, variant.module);
        }
        assert!((1_000..100_000).contains(&item.input.len()), "{}: {} bytes", item.user, item.input.len());
    }
}
