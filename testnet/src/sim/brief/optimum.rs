//! The exact optimum of a small instance, known to who knows everything: where each task runs, which build of it, and who
//! goes before whom on every uplink and at every machine.
//!
//! A plan is an assignment and these orders; given them, everything happens as early as it can. Nothing is lost by that: no
//! cost falls when a start is put off, what waits for an uplink waits for who goes before it, and on equal cores whoever
//! starts next may as well take the core that is free first. Assignments are tried depth first, the cheaper first, and a
//! branch is left when what its tasks cost at least, meeting each other but none of the rest, is no better than the best plan.
//!
//! **Invariant:** the same plan as trying everything (`tests.rs` does, on smaller instances).
//! **Not here:** what a task costs. That is [`Instance::cost`].

use core::time::Duration;

use super::instance::{Instance, Met, User};

/// The best that can be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What each user's task meets.
    pub met: Vec<Met>,
    /// The objective.
    pub total: f64,
}

/// Where a task may run, and what of it.
#[derive(Debug, Clone, Copy)]
struct Choice {
    machine: usize,
    build: usize,
    /// What it costs when nobody is in its way.
    alone: f64,
}

/// The best plan there is.
pub fn optimum(instance: &Instance) -> Plan {
    let choices: Vec<Vec<Choice>> = instance.users.iter().map(|user| choices(instance, user)).collect();
    // What the tasks from each one on cost at least.
    let mut least = vec![0.0; choices.len() + 1];
    for (index, choices) in choices.iter().enumerate().rev() {
        least[index] = least[index + 1] + choices.first().map_or(0.0, |choice| choice.alone);
    }
    let mut search = Search { instance, choices, least, best: Plan { met: Vec::new(), total: f64::INFINITY } };
    search.descend(&mut Vec::new());
    search.best
}

fn choices(instance: &Instance, user: &User) -> Vec<Choice> {
    let mut choices = Vec::new();
    for machine in 0..instance.machines.len() {
        for build in 0..user.builds.len() {
            let alone = instance.cost(user, &instance.alone(user, machine, build)).total();
            choices.push(Choice { machine, build, alone });
        }
    }
    choices.sort_by(|a, b| a.alone.total_cmp(&b.alone));
    choices
}

struct Search<'a> {
    instance: &'a Instance,
    /// Of each user, the cheapest first.
    choices: Vec<Vec<Choice>>,
    least: Vec<f64>,
    best: Plan,
}

impl Search<'_> {
    /// Tries everything for the users that have no place yet.
    fn descend(&mut self, taken: &mut Vec<Choice>) {
        let user = taken.len();
        if user == self.choices.len() {
            return self.complete(taken);
        }
        let before: f64 = taken.iter().map(|choice| choice.alone).sum();
        for number in 0..self.choices[user].len() {
            let choice = self.choices[user][number];
            if before + choice.alone + self.least[user + 1] >= self.best.total {
                return; // and so it is with all that follow
            }
            taken.push(choice);
            if user == 0 || self.bound(taken) + self.least[user + 1] < self.best.total {
                self.descend(taken);
            }
            taken.pop();
        }
    }

    /// What the tasks that have a place cost at least.
    fn bound(&self, taken: &[Choice]) -> f64 {
        self.best_orders(taken, &|user, choice, met| {
            let weights = self.instance.machines[choice.machine].weights;
            // To wait for the uplink may be cheaper than to wait there: whoever joins may make that of it.
            let cheapest = weights.delay.min(weights.transfer);
            let waits = Met { uplink_wait: Duration::ZERO, ..*met };
            let cost = self.instance.cost(user, &waits);
            if weights.delay > 0.0 { cost.total() - cost.wait * (1.0 - cheapest / weights.delay) } else { cost.total() }
        })
        .total
    }

    fn complete(&mut self, taken: &[Choice]) {
        let plan = self.best_orders(taken, &|user, _, met| self.instance.cost(user, met).total());
        if plan.total < self.best.total {
            self.best = plan;
        }
    }

    /// The best orders on every uplink and at every machine, for the tasks that have a place.
    fn best_orders(&self, taken: &[Choice], cost: &dyn Fn(&User, &Choice, &Met) -> f64) -> Plan {
        let machines = self.instance.machines.len();
        let moves = |user: usize, home: usize| self.instance.users[user].home == home && taken[user].machine != home;
        let mut leaving: Vec<Vec<usize>> =
            (0..machines).map(|home| (0..taken.len()).filter(|user| moves(*user, home)).collect()).collect();
        leaving.retain(|users| users.len() > 1);
        let mut met: Vec<Met> = taken
            .iter()
            .zip(&self.instance.users)
            .map(|(choice, user)| self.instance.alone(user, choice.machine, choice.build))
            .collect();
        let mut best = Plan { met: Vec::new(), total: f64::INFINITY };
        self.each_leaving(&mut leaving, taken, &mut met, &mut |met| {
            let plan = self.best_at_machines(taken, met, cost, best.total);
            if plan.total < best.total {
                best = plan;
            }
        });
        best
    }

    /// Every order on every uplink, and when inputs arrive by it.
    fn each_leaving(
        &self,
        leaving: &mut [Vec<usize>],
        taken: &[Choice],
        met: &mut Vec<Met>,
        found: &mut dyn FnMut(&[Met]),
    ) {
        let Some((users, others)) = leaving.split_first_mut() else { return found(met) };
        each_order(users, 0, &mut |order| {
            let mut free = Duration::ZERO;
            for index in order {
                let (user, choice) = (&self.instance.users[*index], &taken[*index]);
                let alone = self.instance.alone(user, choice.machine, choice.build);
                let uplink_wait = free.saturating_sub(user.at);
                met[*index] = Met { uplink_wait, start_in: alone.start_in + uplink_wait, ..alone };
                free = user.at + uplink_wait + self.instance.crossing(user, choice.machine);
            }
            self.each_leaving(others, taken, met, found);
        });
    }

    /// The best order at every machine, given when inputs arrive; each machine's is its own matter.
    fn best_at_machines(
        &self,
        taken: &[Choice],
        arrived: &[Met],
        cost: &dyn Fn(&User, &Choice, &Met) -> f64,
        limit: f64,
    ) -> Plan {
        let mut plan = Plan { met: arrived.to_vec(), total: 0.0 };
        for (index, machine) in self.instance.machines.iter().enumerate() {
            let mut here: Vec<usize> = (0..taken.len()).filter(|user| taken[*user].machine == index).collect();
            let cores = usize::from(machine.cores);
            let mut least = f64::INFINITY;
            let mut starts: Vec<(usize, Met)> = Vec::new();
            let mut tried: Vec<(usize, Met)> = Vec::with_capacity(here.len());
            let mut attempt = |order: &[usize]| {
                let mut free = [Duration::ZERO; USERS_MAX];
                let free = &mut free[..cores.min(USERS_MAX)];
                tried.clear();
                let mut total = 0.0;
                for user in order {
                    let (who, choice) = (&self.instance.users[*user], &taken[*user]);
                    // Cores are equal: whoever is next takes the one that is free first.
                    let Some(core) = free.iter_mut().min() else { return };
                    let start = (who.at + arrived[*user].start_in).max(*core);
                    *core = start + self.instance.run(who, choice.machine, choice.build);
                    let met = Met { start_in: start - who.at, ..arrived[*user] };
                    total += cost(who, choice, &met);
                    if total >= least {
                        return;
                    }
                    tried.push((*user, met));
                }
                least = total;
                starts.clone_from(&tried);
            };
            if here.len() <= cores {
                attempt(&here);
            } else {
                each_order(&mut here, 0, &mut attempt);
            }
            plan.total += least;
            if plan.total >= limit {
                return Plan { met: Vec::new(), total: f64::INFINITY };
            }
            for (user, met) in starts {
                plan.met[user] = met;
            }
        }
        plan
    }
}

/// Users of an instance that can be solved; beyond, there are too many plans.
pub const USERS_MAX: usize = 7;

/// Every order of what follows `from`.
fn each_order(items: &mut [usize], from: usize, found: &mut dyn FnMut(&[usize])) {
    if from + 1 >= items.len() {
        return found(items);
    }
    for next in from..items.len() {
        items.swap(from, next);
        each_order(items, from + 1, found);
        items.swap(from, next);
    }
}
