use realtime_core::{Call, Endpoint, Error, Event, Procedure, Result, Topic};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Looks at a product; gives how often it was looked at.
pub const VIEW: Procedure<View, u64> = Procedure::new("products.view");

/// Somebody else looks at a product.
pub const VIEWED: Event<Viewed> = Event::new("viewed");

/// All who are in the shop.
pub const SHOPPING: Topic<()> = Topic::fixed("shopping");

/// What there is.
pub const PRODUCTS: [&str; 5] = ["apples", "bread", "cheese", "honey", "tea"];

/// What a visitor wants to see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// One of [`PRODUCTS`].
    pub product: String,
}

/// What a visitor saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewed {
    /// The product.
    pub product: String,
    /// How often it was looked at.
    pub views: u64,
}

/// A shop whose visitors see what the others look at. A clone is another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Shop(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    views: [AtomicU64; PRODUCTS.len()],
}

impl Shop {
    /// What visitors ask for.
    pub fn endpoint(&self) -> Endpoint<Self> {
        Endpoint::new(self.clone())
            .guard(count)
            .on_open(|connected| async move { connected.subscribe(&SHOPPING) })
            .procedure(VIEW, view)
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }
}

/// A guard that lets all through.
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
