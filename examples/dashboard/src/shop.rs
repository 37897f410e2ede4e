use realtime_core::{Call, Described, Endpoint, Error, Event, Procedure, Result, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Views a product; returns its number of views.
pub const VIEW: Procedure<View, u64> = Procedure::new("products.view");

/// Another visitor viewed a product.
pub const VIEWED: Event<Viewed> = Event::new("viewed");

/// The topic of all visitors.
pub const SHOPPING: Topic<()> = Topic::fixed("shopping");

/// The products of the shop.
pub const PRODUCTS: [&str; 5] = ["apples", "bread", "cheese", "honey", "tea"];

/// The input of [`VIEW`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// One of [`PRODUCTS`].
    pub product: String,
}

/// The data of [`VIEWED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Viewed {
    /// The product.
    pub product: String,
    /// The number of views of the product.
    pub views: u64,
}

/// A shop that notifies its visitors of others' views. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Shop(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    views: [AtomicU64; PRODUCTS.len()],
}

impl Shop {
    /// Returns the endpoint for visitors.
    pub fn endpoint(&self) -> Endpoint<Self, Described> {
        Endpoint::described(self.clone())
            .guard(count)
            .on_open(|connected| async move { connected.subscribe(&SHOPPING) })
            .procedure(VIEW, view)
            .emits(VIEWED)
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }
}

/// A guard that counts calls and admits all.
async fn count(call: Call<Shop>) -> Result {
    call.state().0.calls.fetch_add(1, Relaxed);
    Ok(())
}

async fn view(call: Call<Shop>, View { product }: View) -> Result<u64> {
    let index = PRODUCTS.iter().position(|known| *known == product);
    let index = index.ok_or_else(|| Error::not_found("there is no such product"))?;
    let views = call.state().0.views[index].fetch_add(1, Relaxed) + 1;
    call.to(&SHOPPING).others().emit(VIEWED, &Viewed { product, views })?;
    Ok(views)
}
