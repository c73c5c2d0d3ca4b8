//! Calls that a contract has and this gateway does not serve.

/// Answers UNIMPLEMENTED with the name of the call. It stands in the `impl` of a service and writes
/// what `async_trait` makes of its methods, because that does not look into macros.
macro_rules! not_served {
    ($($name:literal $method:ident: $request:ty => $response:ty,)*) => {$(
        fn $method<'s, 'f>(
            &'s self,
            _: ::tonic::Request<$request>,
        ) -> ::std::pin::Pin<
            Box<
                dyn ::std::future::Future<
                        Output = Result<::tonic::Response<$response>, ::tonic::Status>,
                    > + Send
                    + 'f,
            >,
        >
        where
            's: 'f,
            Self: 'f,
        {
            let status = ::tonic::Status::unimplemented(concat!("this gateway does not serve ", $name));
            Box::pin(::std::future::ready(Err(status)))
        }
    )*};
}

pub(crate) use not_served;
