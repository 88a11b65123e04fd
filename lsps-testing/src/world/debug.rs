use super::*;
impl World {
    /// debug
    pub fn debug(&self) -> String {
        let m = self.model();
        format!(
            "h={} t={} places={:?} chans={:?} links={:?} said={:?} coins={:?} bcast={:?} events={}",
            m.chain.height,
            m.steady.as_secs(),
            m.node.now.places.iter().filter(|(_, p)| **p != Place::Over).collect::<Vec<_>>(),
            m.node.now.channels.iter().map(|(k, c)| (*k, c.stage, c.carries_others)).collect::<Vec<_>>(),
            m.links.len(),
            m.said,
            m.locked(),
            m.broadcast,
            m.node.now.events.len()
        )
    }
    /// debug
    pub fn debug2(&self) -> String {
        let m = self.model();
        let mut s = String::new();
        for (n, i) in m.node.incoming.iter().enumerate() {
            s += &format!("\n {n}: {i:?}");
        }
        for (n, sold) in m.sold.iter().enumerate() {
            s += &format!("\n sold {n}: {sold:?}");
        }
        for e in m.book() {
            s += &format!("\n book {e:?}");
        }
        s
    }
    /// debug
    pub fn debug3(&mut self) -> String {
        let k: Vec<_> = self.lsp.look(|s| {
            s.known_parts()
                .filter(|p| p.is_live || p.claimed.is_some())
                .map(|p| (p.id, p.sent, p.claimed, p.in_doubt))
                .collect()
        });
        let st: Vec<_> = self.lsp.look(|s| s.states().collect());
        format!("{k:?} {st:?}")
    }
    /// debug
    pub fn try_step(&mut self, step: Step) {
        self.step(step);
    }
    /// debug
    pub fn checked(&self) {
        self.model().check_sales();
    }
}
