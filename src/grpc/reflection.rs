//! Reflection: tools such as `grpcurl` ask for the contracts, in both versions of the protocol.
//!
//! What there is not is an answer, and the stream goes on: clients look for names that may not be.
//! The service of `tonic-reflection` ends the stream there, and finds values of enums under no name
//! that protobuf gives them, so that its types alone are used.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;
use tonic_reflection::pb::v1::server_reflection_server as of_v1;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::v1alpha::server_reflection_server as of_v1alpha;
use tonic_reflection::pb::{v1, v1alpha};

use crate::grpc::contracts;
use crate::grpc::routes::Routes;
use crate::grpc::stop::{self, Stop};

/// Adds both versions of the service. They tell the contracts of what is served under its newer
/// names; what the gateway keeps on disk is nobody's business.
pub fn with_reflection(routes: Routes, stop: Stop) -> Routes {
    let reflection = Reflection {
        index: Arc::new(Index::new(&files())),
        stop,
    };
    routes
        .with(of_v1::ServerReflectionServer::new(reflection.clone()))
        .with(of_v1alpha::ServerReflectionServer::new(reflection))
}

fn files() -> Vec<FileDescriptorProto> {
    let theirs = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        v1::FILE_DESCRIPTOR_SET,
        v1alpha::FILE_DESCRIPTOR_SET,
    ];
    // They are built in; a test sees that they are whole.
    let theirs = theirs.map(|set| FileDescriptorSet::decode(set).unwrap_or_default().file);
    let ours = contracts::of_services().file;
    theirs.into_iter().flatten().chain(ours).collect()
}

/// The contracts by the names in them.
#[derive(Debug, Default)]
struct Index {
    files: HashMap<String, Vec<u8>>,
    /// The name of the file for each symbol.
    symbols: HashMap<String, String>,
    messages: HashSet<String>,
    services: BTreeSet<String>,
}

impl Index {
    fn new(files: &[FileDescriptorProto]) -> Self {
        let mut index = Self::default();
        for file in files {
            index.add(file);
        }
        index
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let package = file.package();
        let mut names = Vec::new();
        for message in &file.message_type {
            self.add_message(package, message, &mut names);
        }
        for item in &file.enum_type {
            add_enum(package, item, &mut names);
        }
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            let methods = service.method.iter();
            names.extend(methods.map(|method| format!("{name}.{}", method.name())));
            self.services.insert(name.clone());
            names.push(name);
        }
        let of_file = names.into_iter().map(|name| (name, file.name().to_owned()));
        self.symbols.extend(of_file);
        self.files
            .insert(file.name().to_owned(), file.encode_to_vec());
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, names: &mut Vec<String>) {
        let name = format!("{scope}.{}", message.name());
        let fields = message.field.iter().map(|field| field.name());
        let choices = message.oneof_decl.iter().map(|choice| choice.name());
        names.extend(
            fields
                .chain(choices)
                .map(|member| format!("{name}.{member}")),
        );
        for nested in &message.nested_type {
            self.add_message(&name, nested, names);
        }
        for item in &message.enum_type {
            add_enum(&name, item, names);
        }
        self.messages.insert(name.clone());
        names.push(name);
    }

    fn answer(&self, question: &Question) -> Result<Answer, Status> {
        match question {
            Question::FileByFilename(name) => self.file(name),
            Question::FileContainingSymbol(symbol) => match self.symbols.get(symbol) {
                Some(file) => self.file(file),
                None => Err(Status::not_found(format!("there is no symbol {symbol}"))),
            },
            Question::FileContainingExtension(asked) => Err(Status::not_found(format!(
                "there is no extension {} of {}",
                asked.extension_number, asked.containing_type
            ))),
            Question::AllExtensionNumbersOfType(name) if self.messages.contains(name) => Ok(
                Answer::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: Vec::new(),
                }),
            ),
            Question::AllExtensionNumbersOfType(name) => {
                Err(Status::not_found(format!("there is no message {name}")))
            }
            Question::ListServices(_) => {
                let services = self.services.iter();
                let service = services.map(|name| ServiceResponse { name: name.clone() });
                Ok(Answer::ListServicesResponse(ListServiceResponse {
                    service: service.collect(),
                }))
            }
        }
    }

    fn file(&self, name: &str) -> Result<Answer, Status> {
        let Some(file) = self.files.get(name) else {
            return Err(Status::not_found(format!("there is no file {name}")));
        };
        Ok(Answer::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![file.clone()],
        }))
    }

    fn respond(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answered = match &request.message_request {
            Some(question) => self.answer(question),
            None => Err(Status::invalid_argument("nothing is asked")),
        };
        let answer = answered.unwrap_or_else(|status| {
            Answer::ErrorResponse(ErrorResponse {
                error_code: i32::from(status.code()),
                error_message: status.message().to_owned(),
            })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }
}

/// The values of an enum are named as its siblings.
fn add_enum(scope: &str, item: &EnumDescriptorProto, names: &mut Vec<String>) {
    let values = item.value.iter().map(|value| value.name());
    let all = values.chain([item.name()]);
    names.extend(all.map(|name| format!("{scope}.{name}")));
}

#[derive(Clone, Debug)]
struct Reflection {
    index: Arc<Index>,
    stop: Stop,
}

/// The answers of one stream.
type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

impl Reflection {
    /// The two versions differ in their names alone.
    fn answers<Q, A>(&self, questions: Streaming<Q>) -> Answers<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let Self { index, stop } = self.clone();
        let begin = Some((questions, index, stop));
        Box::pin(stream::unfold(begin, |state| async {
            let (mut questions, index, mut stop) = state?;
            let asked = tokio::select! {
                biased;
                asked = questions.message() => asked.transpose()?,
                () = stop.requested() => Err(stop::shutting_down()),
            };
            let answer = asked
                .and_then(|question| same(&question))
                .and_then(|question| same(&index.respond(question)));
            let next = answer.is_ok().then_some((questions, index, stop));
            Some((answer, next))
        }))
    }
}

/// A message in the other version.
fn same<A: Message, B: Message + Default>(message: &A) -> Result<B, Status> {
    let other = B::decode(message.encode_to_vec().as_slice());
    other.map_err(|error| Status::new(Code::Internal, error.to_string()))
}

#[tonic::async_trait]
impl of_v1::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        Ok(Response::new(self.answers(request.into_inner())))
    }
}

#[tonic::async_trait]
impl of_v1alpha::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        Ok(Response::new(self.answers(request.into_inner())))
    }
}

#[cfg(test)]
mod tests {
    use tonic_reflection::pb::v1::ExtensionRequest;

    use super::*;

    fn ask(question: Option<Question>) -> Result<Answer, (Code, String)> {
        let request = ServerReflectionRequest {
            host: "gate".to_owned(),
            message_request: question,
        };
        let response = Index::new(&files()).respond(request.clone());
        assert_eq!(response.valid_host, "gate");
        assert_eq!(response.original_request, Some(request));
        match response.message_response.expect("an answer") {
            Answer::ErrorResponse(error) => {
                Err((Code::from(error.error_code), error.error_message))
            }
            answer => Ok(answer),
        }
    }

    fn file_of(symbol: &str) -> String {
        let answer = ask(Some(Question::FileContainingSymbol(symbol.to_owned())));
        let Ok(Answer::FileDescriptorResponse(files)) = answer else {
            panic!("{symbol}: {answer:?}");
        };
        let [file] = files.file_descriptor_proto.as_slice() else {
            panic!("one file: {files:?}");
        };
        let file = FileDescriptorProto::decode(file.as_slice()).expect("a file");
        file.name().to_owned()
    }

    #[test]
    fn every_kind_of_symbol_is_found_by_its_full_name() {
        for (symbol, file) in [
            ("gsdk.connect.Connect", "connect.proto"),
            ("gsdk.connect.Connect.GetDeviceList", "connect.proto"),
            ("gsdk.connect.DeviceInfo", "connect.proto"),
            ("gsdk.connect.DeviceInfo.deviceID", "connect.proto"),
            ("gsdk.connect.Status", "connect.proto"),
            ("gsdk.connect.TLS_CONNECTED", "connect.proto"),
            ("gsdk.device.UNDEFINED", "device.proto"),
            (
                "gatehouse.v1.WatchResponse.event",
                "gatehouse/v1/fleet.proto",
            ),
            (
                "grpc.health.v1.HealthCheckResponse.ServingStatus",
                "health.proto",
            ),
            ("grpc.health.v1.HealthCheckResponse.SERVING", "health.proto"),
            ("grpc.reflection.v1.ServerReflection", "reflection_v1.proto"),
            (
                "grpc.reflection.v1alpha.ServerReflection",
                "reflection_v1alpha.proto",
            ),
        ] {
            assert_eq!(file_of(symbol), file, "{symbol}");
        }
    }

    #[test]
    fn every_file_that_a_file_imports_is_there() {
        let files = files();
        let index = Index::new(&files);
        let imports = files.iter().flat_map(|file| &file.dependency);
        for import in imports {
            assert!(index.files.contains_key(import), "{import}");
        }
        assert!(files.len() > 10, "{}", files.len());
    }

    #[test]
    fn what_there_is_not_is_an_answer() {
        let text = str::to_owned;
        let extension = ExtensionRequest {
            containing_type: text("gsdk.connect.DeviceInfo"),
            extension_number: 5,
        };
        for (question, code, message) in [
            (
                Some(Question::FileContainingSymbol(text("gsdk.connect.Nobody"))),
                Code::NotFound,
                "there is no symbol gsdk.connect.Nobody",
            ),
            (
                Some(Question::FileContainingSymbol(text(
                    "gatehouse.store.Device",
                ))),
                Code::NotFound,
                "there is no symbol gatehouse.store.Device",
            ),
            (
                Some(Question::FileByFilename(text("store.proto"))),
                Code::NotFound,
                "there is no file store.proto",
            ),
            (
                Some(Question::FileContainingExtension(extension)),
                Code::NotFound,
                "there is no extension 5 of gsdk.connect.DeviceInfo",
            ),
            (
                Some(Question::AllExtensionNumbersOfType(text("gsdk.Nobody"))),
                Code::NotFound,
                "there is no message gsdk.Nobody",
            ),
            (None, Code::InvalidArgument, "nothing is asked"),
        ] {
            assert_eq!(ask(question).unwrap_err(), (code, message.to_owned()));
        }
        let asked = Question::AllExtensionNumbersOfType(text("gsdk.connect.DeviceInfo"));
        let none = ExtensionNumberResponse {
            base_type_name: text("gsdk.connect.DeviceInfo"),
            extension_number: Vec::new(),
        };
        let answer = ask(Some(asked));
        assert_eq!(answer, Ok(Answer::AllExtensionNumbersResponse(none)));
    }
}
