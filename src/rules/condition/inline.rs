//! Segments and macros: named texts that are put in where they are named.

use std::sync::Arc;

use super::{
    check::Checker,
    names::{self, Named},
    syntax::Syntax,
    tree::Test,
    types::Typed,
    walks::Item,
};

impl Checker<'_, '_> {
    /// `seg.NAME`.
    pub(super) fn segment(&mut self, name: &str, syntax: &Syntax) -> Option<Test> {
        self.inlined(Named::Segment, name, syntax, |inner, put_in| inner.test(put_in))
    }

    /// `macro.NAME` where a value is wanted.
    pub(super) fn macro_value(&mut self, name: &str, syntax: &Syntax) -> Option<Typed> {
        self.inlined(Named::Macro, name, syntax, |inner, put_in| inner.value(put_in))
    }

    /// The elements of a macro that is a list; `None` when it is no list.
    pub(super) fn macro_items(&mut self, name: &str, syntax: &Syntax) -> Option<Option<Vec<Item>>> {
        let mut is_list = false;
        let items = self.inlined(Named::Macro, name, syntax, |inner, put_in| {
            let items = inner.items(put_in)?;
            is_list = true;
            items
        });
        let here = |item: Item| Item { span: syntax.span.clone(), ..item };
        is_list.then(|| items.map(|items| items.into_iter().map(here).collect()))
    }

    fn inlined<T>(
        &mut self,
        kind: Named,
        name: &str,
        syntax: &Syntax,
        run: impl FnOnce(&mut Checker<'_, '_>, &Syntax) -> Option<T>,
    ) -> Option<T> {
        let env = self.shared.env;
        let Some(source) = kind.texts(env).get(name) else {
            let lost = match kind {
                Named::Segment => env.lost.segments,
                Named::Macro => env.lost.macros,
            };
            return self.unknown(syntax.span.clone(), kind.unknown(name, env), lost);
        };
        let label: Arc<str> = format!("{}.{name}", kind.root()).into();
        let here = self.origin.error(self.text, syntax.span.clone(), String::new());
        let cycle_from = self.shared.open.iter().position(|(open, _)| *open == label);
        self.shared.open.push((label, here));
        let found = match cycle_from {
            Some(from) => {
                let error = names::cycle(&self.shared.open[from..]);
                if !self.shared.errors.contains(&error) {
                    self.shared.errors.push(error);
                }
                None
            }
            None => {
                let depth = self.shared.depth;
                let mut inner = Checker::new(&source.text, &source.origin, self.shared);
                let found = inner.parse().and_then(|put_in| run(&mut inner, put_in.syntax()));
                let reads = inner.reads;
                self.reads.extend(reads);
                self.shared.depth = depth;
                found
            }
        };
        self.shared.open.pop();
        found
    }
}
