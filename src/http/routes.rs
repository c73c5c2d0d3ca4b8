//! The router: each route under its path, behind the front checks and the gate.
//!
//! To add a route: a row in [`rules`](crate::http::rules), `.on(Method, path, handler)` in the
//! `routes` function of the file that serves it, and that function in [`all`]. A handler takes the
//! extractors of [`extract`](crate::http::extract), `State<Arc<App>>`, and on routes that want a
//! role `Extension<Pass>`; it answers `Result<_, Problem>`.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::http::app::App;
use crate::http::{
    assets, buckets, cors, counts, fleet, front, gate, headers, health, iotmp, metrics, observed,
    openapi, pending, properties, resources, top, whoami,
};

/// The routes of one server, as they are gathered.
#[derive(Default)]
pub struct Routes {
    router: Router<Arc<App>>,
    served: Vec<(Method, &'static str)>,
}

impl Routes {
    /// Adds a route.
    #[must_use]
    pub fn on<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        // Methods that the filter does not know have no row among the rules either.
        if let Ok(filter) = MethodFilter::try_from(method.clone()) {
            self.router = self.router.route(path, on(filter, handler));
            self.served.push((method, path));
        }
        self
    }

    /// Everything that there is a route for.
    pub fn served(&self) -> &[(Method, &'static str)] {
        &self.served
    }
}

/// All routes of the gateway.
pub fn all() -> Routes {
    let routes = whoami::routes(Routes::default());
    let routes = health::routes(routes);
    let routes = metrics::routes(routes);
    let routes = fleet::routes(routes);
    let routes = top::routes(routes);
    let routes = pending::routes(routes);
    let routes = resources::routes(routes);
    let routes = properties::routes(routes);
    let routes = buckets::routes(routes);
    let routes = openapi::routes(routes);
    let routes = iotmp::routes(routes);
    assets::routes(routes)
}

/// What answers requests. The last layer is the first that a request meets.
pub fn router(routes: Routes, app: Arc<App>) -> Router {
    let body_max = app.services.http.body_max_bytes;
    let cors = cors::layer(&app.services.http.origins);
    routes
        .router
        .fallback(gate::unreached)
        .method_not_allowed_fallback(gate::unreached)
        .layer(DefaultBodyLimit::max(body_max))
        .layer(from_fn_with_state(Arc::clone(&app), gate::gate))
        .layer(cors)
        .layer(from_fn_with_state(Arc::clone(&app), front::front))
        .layer(map_response(headers::secure))
        .layer(from_fn_with_state(Arc::clone(&app), counts::count))
        .layer(from_fn_with_state(Arc::clone(&app), observed::observe))
        .with_state(app)
}
