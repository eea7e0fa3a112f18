//! Plants the changes: every one is compiled in beside the code as it is, and `MUTANT=17` chooses number 17.
//!
//! ```text
//! a == b      match (&a, &b) { (l, r) => if on(17) { l != r } else { l == r } }
//! a && b      { let l = a; if on(18) { l || b } else { l && b } }
//! fn f()      a first line `if on(19) { return VALUE; }`, for each value that the type suggests
//! pat =>      `pat if !on(20) =>`, where a wildcard follows
//! ```
//!
//! So one build serves for all of them. Constants, patterns and macros stay as they are, as does test code.

use std::collections::BTreeSet;

use syn::spanned::Spanned as _;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, BinOp, Expr, GenericArgument, Pat, PathArguments, ReturnType, Type, UnOp, parse_quote};

/// One change.
pub struct Mutant {
    /// Its number, from 1.
    pub id: usize,
    /// The file, from the root of the repository.
    pub file: String,
    /// Where it is.
    pub line: usize,
    /// The innermost function around it.
    pub function: String,
    /// What is changed into what.
    pub what: String,
}

/// Walks through files and plants.
pub struct Planter {
    /// Numbers that are left out, since they do not compile.
    pub skipped: BTreeSet<usize>,
    /// What was planted, and what was left out.
    pub mutants: Vec<Mutant>,
    file: String,
    function: Vec<String>,
}

impl Planter {
    /// One that leaves out these numbers.
    pub fn new(skipped: BTreeSet<usize>) -> Self {
        Self { skipped, mutants: Vec::new(), file: String::new(), function: Vec::new() }
    }

    /// Plants into the text of a file.
    pub fn plant(&mut self, file: &str, text: &str) -> syn::Result<String> {
        let mut tree = syn::parse_file(text)?;
        self.file = file.to_owned();
        self.visit_file_mut(&mut tree);
        Ok(prettyplease::unparse(&tree))
    }

    /// The question whether the next number is chosen; `None` when it is left out.
    fn next(&mut self, line: usize, what: String) -> Option<Expr> {
        let id = self.mutants.len() + 1;
        let function = self.function.join("::");
        self.mutants.push(Mutant { id, file: self.file.clone(), line, function, what });
        let number = syn::LitInt::new(&id.to_string(), proc_macro2::Span::call_site());
        let own: syn::Path = match self.file.starts_with("schema/") {
            true => parse_quote!(crate::mutants::on),
            false => parse_quote!(schema::mutants::on),
        };
        (!self.skipped.contains(&id)).then(|| parse_quote!(#own(#number)))
    }

    /// Begins the body of a function with a return for each value that its type suggests.
    fn return_early(&mut self, output: &ReturnType, block: &mut syn::Block) {
        let line = block.span().start().line;
        for value in values(output).into_iter().rev() {
            let shown = prettyplease::unparse(&parse_quote!(const A: () = #value;));
            let shown = shown.trim().trim_start_matches("const A: () = ").trim_end_matches(';').to_owned();
            if let Some(on) = self.next(line, format!("the body gives {shown}")) {
                block.stmts.insert(0, parse_quote!(if #on { return #value; }));
            }
        }
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.function.push(name);
        visit(self);
        self.function.pop();
    }

    fn binary(&mut self, binary: &syn::ExprBinary) -> Option<Expr> {
        let (left, right, line) = (&binary.left, &binary.right, binary.op.span().start().line);
        let changes = changes(&binary.op);
        if changes.is_empty() || has_let(left) || has_let(right) {
            return None;
        }
        let op = &binary.op;
        let planted: Vec<(Expr, &BinOp)> = changes
            .iter()
            .filter_map(|other| Some((self.next(line, format!("{} for {}", show(other), show(op)))?, other)))
            .collect();
        let assigns = show(op).ends_with('=') && !matches!(show(op), "==" | "!=" | "<=" | ">=");
        let place = |op: &BinOp| -> Expr {
            match op {
                op if assigns => parse_quote!(#left #op #right),
                BinOp::And(_) | BinOp::Or(_) => parse_quote!(mutant_left #op (#right)),
                BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Gt(_) | BinOp::Le(_) | BinOp::Ge(_) => {
                    parse_quote!(*mutant_left #op *mutant_right)
                }
                op => parse_quote!(mutant_left #op mutant_right),
            }
        };
        let mut chosen = place(op);
        for (on, other) in &planted {
            let other = place(other);
            chosen = parse_quote!(if #on { #other } else { #chosen });
        }
        if planted.is_empty() {
            return None;
        }
        Some(match op {
            _ if assigns => chosen,
            BinOp::And(_) | BinOp::Or(_) => parse_quote!(({ let mutant_left: bool = #left; #chosen })),
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Gt(_) | BinOp::Le(_) | BinOp::Ge(_) => {
                parse_quote!((match (&(#left), &(#right)) { (mutant_left, mutant_right) => #chosen }))
            }
            _ => parse_quote!((match (#left, #right) { (mutant_left, mutant_right) => #chosen })),
        })
    }
}

impl VisitMut for Planter {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        match expr {
            Expr::Binary(binary) => {
                if let Some(changed) = self.binary(&binary.clone()) {
                    *expr = changed;
                }
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let line = unary.span().start().line;
                if let Some(on) = self.next(line, "no negation".into()) {
                    let inner = &unary.expr;
                    *expr = parse_quote!(({ let mutant_value = #inner; if #on { mutant_value } else { !mutant_value } }));
                }
            }
            _ => {}
        }
    }

    fn visit_expr_match_mut(&mut self, expr: &mut syn::ExprMatch) {
        visit_mut::visit_expr_match_mut(self, expr);
        let is_wild = |arm: &Arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none();
        let wild = expr.arms.iter().any(is_wild);
        for arm in &mut expr.arms {
            let line = arm.pat.span().start().line;
            if arm.guard.as_ref().is_some_and(|(_, guard)| has_let(guard)) {
                continue;
            }
            if let Some((_, guard)) = &mut arm.guard {
                let always = self.next(line, "a guard that is true".into());
                let never = self.next(line, "a guard that is false".into());
                if let (Some(always), Some(never)) = (always, never) {
                    **guard = parse_quote!(#always || (!#never && (#guard)));
                }
            } else if wild && !matches!(arm.pat, Pat::Wild(_)) {
                if let Some(on) = self.next(line, "no such arm".into()) {
                    arm.guard = Some((Default::default(), parse_quote!(!#on)));
                }
            }
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.within(item.sig.ident.to_string(), |planter| {
                visit_mut::visit_block_mut(planter, &mut item.block);
                planter.return_early(&item.sig.output, &mut item.block);
            });
        }
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.within(item.sig.ident.to_string(), |planter| {
                visit_mut::visit_block_mut(planter, &mut item.block);
                planter.return_early(&item.sig.output, &mut item.block);
            });
        }
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        let of_debug = item
            .trait_
            .as_ref()
            .is_some_and(|(_, path, _)| path.segments.last().is_some_and(|last| last.ident == "Debug"));
        if !of_debug && !is_test(&item.attrs) {
            let name = match &*item.self_ty {
                Type::Path(of) => of.path.segments.last().map(|last| last.ident.to_string()),
                _ => None,
            };
            self.within(name.unwrap_or_default(), |planter| visit_mut::visit_item_impl_mut(planter, item));
        }
    }

    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    // Where only constants may stand, or nothing that runs.
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}
    fn visit_item_enum_mut(&mut self, _: &mut syn::ItemEnum) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
    fn visit_expr_repeat_mut(&mut self, expr: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut expr.expr);
    }
    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}
}

fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let test = |text: &str| text.contains("test");
        attr.path().is_ident("test")
            || attr.path().is_ident("cfg")
                && attr.meta.require_list().is_ok_and(|l| test(&l.tokens.to_string()))
    })
}

/// Is there an `if let` in a chain of conditions?
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// What may stand in the place of an operator.
fn changes(op: &BinOp) -> Vec<BinOp> {
    match op {
        BinOp::Eq(_) => vec![parse_quote!(!=)],
        BinOp::Ne(_) => vec![parse_quote!(==)],
        BinOp::Lt(_) => vec![parse_quote!(<=), parse_quote!(>)],
        BinOp::Gt(_) => vec![parse_quote!(>=), parse_quote!(<)],
        BinOp::Le(_) => vec![parse_quote!(<), parse_quote!(>)],
        BinOp::Ge(_) => vec![parse_quote!(>), parse_quote!(<)],
        BinOp::And(_) => vec![parse_quote!(||)],
        BinOp::Or(_) => vec![parse_quote!(&&)],
        BinOp::Add(_) => vec![parse_quote!(-), parse_quote!(*)],
        BinOp::Sub(_) => vec![parse_quote!(+), parse_quote!(/)],
        BinOp::Mul(_) => vec![parse_quote!(+), parse_quote!(/)],
        BinOp::Div(_) => vec![parse_quote!(*), parse_quote!(%)],
        BinOp::Rem(_) => vec![parse_quote!(/), parse_quote!(+)],
        BinOp::Shl(_) => vec![parse_quote!(>>)],
        BinOp::Shr(_) => vec![parse_quote!(<<)],
        BinOp::BitAnd(_) => vec![parse_quote!(|), parse_quote!(^)],
        BinOp::BitOr(_) => vec![parse_quote!(&), parse_quote!(^)],
        BinOp::BitXor(_) => vec![parse_quote!(|), parse_quote!(&)],
        BinOp::AddAssign(_) => vec![parse_quote!(-=), parse_quote!(*=)],
        BinOp::SubAssign(_) => vec![parse_quote!(+=)],
        BinOp::BitAndAssign(_) => vec![parse_quote!(|=)],
        BinOp::BitOrAssign(_) => vec![parse_quote!(&=)],
        _ => Vec::new(),
    }
}

fn show(op: &BinOp) -> &'static str {
    match op {
        BinOp::Add(_) => "+",
        BinOp::Sub(_) => "-",
        BinOp::Mul(_) => "*",
        BinOp::Div(_) => "/",
        BinOp::Rem(_) => "%",
        BinOp::And(_) => "&&",
        BinOp::Or(_) => "||",
        BinOp::BitXor(_) => "^",
        BinOp::BitAnd(_) => "&",
        BinOp::BitOr(_) => "|",
        BinOp::Shl(_) => "<<",
        BinOp::Shr(_) => ">>",
        BinOp::Eq(_) => "==",
        BinOp::Lt(_) => "<",
        BinOp::Le(_) => "<=",
        BinOp::Ne(_) => "!=",
        BinOp::Ge(_) => ">=",
        BinOp::Gt(_) => ">",
        BinOp::AddAssign(_) => "+=",
        BinOp::SubAssign(_) => "-=",
        BinOp::MulAssign(_) => "*=",
        BinOp::BitAndAssign(_) => "&=",
        BinOp::BitOrAssign(_) => "|=",
        _ => "?",
    }
}

/// Values that a function of this type could give without doing anything.
fn values(output: &ReturnType) -> Vec<Expr> {
    match output {
        ReturnType::Default => vec![parse_quote!(())],
        ReturnType::Type(_, of) => values_of(of),
    }
}

fn values_of(of: &Type) -> Vec<Expr> {
    match of {
        Type::Tuple(tuple) if tuple.elems.is_empty() => vec![parse_quote!(())],
        Type::Reference(to) => match &*to.elem {
            Type::Path(path) if path.path.is_ident("str") => vec![parse_quote!(""), parse_quote!("xyzzy")],
            Type::Slice(_) if to.mutability.is_none() => vec![parse_quote!(&[])],
            _ => Vec::new(),
        },
        Type::Path(path) => values_of_path(&path.path),
        _ => Vec::new(),
    }
}

fn values_of_path(path: &syn::Path) -> Vec<Expr> {
    let Some(last) = path.segments.last() else { return Vec::new() };
    let inner = match &last.arguments {
        PathArguments::AngleBracketed(list) => list.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(of) => Some(of),
            _ => None,
        }),
        _ => None,
    };
    let wrapped = |wrap: fn(Expr) -> Expr| inner.map(values_of).unwrap_or_default().into_iter().map(wrap);
    match last.ident.to_string().as_str() {
        "bool" => vec![parse_quote!(true), parse_quote!(false)],
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => vec![parse_quote!(0), parse_quote!(1)],
        "String" => vec![parse_quote!(String::new()), parse_quote!("xyzzy".into())],
        "Vec" => vec![parse_quote!(Vec::new())],
        "Option" => {
            std::iter::once(parse_quote!(None)).chain(wrapped(|value| parse_quote!(Some(#value)))).collect()
        }
        "Result" if inner.is_none() => vec![parse_quote!(Ok(()))],
        "Result" => wrapped(|value| parse_quote!(Ok(#value))).collect(),
        _ => Vec::new(),
    }
}
