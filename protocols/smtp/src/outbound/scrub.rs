//! What of a DNS answer concerns the question. The validator under `secure_dns` takes for an answer what it can prove,
//! also where it is about other names: a zone without signatures could deny TLSA records of a signed one, and a proof
//! of one zone about a name in another makes it search for ever. So it sees nothing of the kind.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use hickory_resolver::net::{DnsError, DnsHandle, NetError};
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{DnsRequest, DnsResponse};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A way to ask that gives only what was asked for.
#[derive(Clone)]
pub(super) struct Scrubbed<H>(pub(super) H);

impl<H: DnsHandle> DnsHandle for Scrubbed<H> {
    type Response = Scrubbing<H::Response>;
    type Runtime = H::Runtime;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let name = request.queries.first().map_or_else(Name::root, |query| query.name().clone());
        Scrubbing { answers: self.0.send(request), name }
    }
}

/// The answers to one question.
pub(super) struct Scrubbing<S> {
    answers: S,
    name: Name,
}

impl<S: Stream<Item = Result<DnsResponse, NetError>> + Unpin> Stream for Scrubbing<S> {
    type Item = Result<DnsResponse, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = Pin::new(&mut self.answers).poll_next(context);
        answer.map(|answer| answer.map(|answer| scrub(&self.name, answer)))
    }
}

fn scrub(name: &Name, answer: Result<DnsResponse, NetError>) -> Result<DnsResponse, NetError> {
    match answer {
        Ok(mut response) => {
            response.answers.retain(|record| record.name == *name);
            response.authorities = concerning(name, &response.authorities);
            response.additionals.clear();
            Ok(response)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(mut none))) => {
            (none.soa, none.ns) = (None, None);
            let authorities = none.authorities.take().map(|said| concerning(name, &said));
            none.authorities = authorities.filter(|said| !said.is_empty()).map(Arc::from);
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
        }
        Err(error) => Err(error),
    }
}

/// What zones say in which the name is.
fn concerning(name: &Name, said: &[Record]) -> Vec<Record> {
    let is_of_zone = |record: &Record, kind: RecordType| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            let signed = signature.input();
            signed.type_covered == kind && signed.signer_name.zone_of(name)
        }
        _ => false,
    };
    let is_kept = |record: &&Record| match record.record_type() {
        RecordType::SOA | RecordType::NS | RecordType::DS => record.name.zone_of(name),
        // Their owner does not say whose they are; who has signed them does.
        kind @ (RecordType::NSEC | RecordType::NSEC3) => {
            said.iter().any(|other| other.name == record.name && is_of_zone(other, kind))
        }
        RecordType::RRSIG => match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.input().signer_name.zone_of(name),
            _ => false,
        },
        _ => false,
    };
    said.iter().filter(is_kept).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::dnssec::Algorithm;
    use hickory_resolver::proto::dnssec::rdata::{NSEC, RRSIG, SigInput};
    use hickory_resolver::proto::op::{Message, Query, ResponseCode};
    use hickory_resolver::proto::rr::SerialNumber;
    use hickory_resolver::proto::rr::rdata::{A, NS, SOA};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn soa(zone: &str) -> Record {
        Record::from_rdata(name(zone), 60, RData::SOA(SOA::new(name("ns."), name("hostmaster."), 1, 60, 60, 60, 60)))
    }

    fn ns(zone: &str) -> Record {
        Record::from_rdata(name(zone), 60, RData::NS(NS(name("ns."))))
    }

    fn address(host: &str) -> Record {
        Record::from_rdata(name(host), 60, RData::A(A(Ipv4Addr::LOCALHOST)))
    }

    fn nsec(owner: &str) -> Record {
        let nsec = NSEC::new(name("z.example."), [RecordType::A]);
        Record::from_rdata(name(owner), 60, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
    }

    fn signature(owner: &str, type_covered: RecordType, signer: &str) -> Record {
        let input = SigInput {
            type_covered,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: 2,
            original_ttl: 60,
            sig_expiration: SerialNumber::new(1),
            sig_inception: SerialNumber::new(0),
            key_tag: 1,
            signer_name: name(signer),
        };
        let signature = RRSIG::from_sig(input, vec![0; 64]);
        Record::from_rdata(name(owner), 60, RData::DNSSEC(DNSSECRData::RRSIG(signature)))
    }

    #[test]
    fn a_zone_speaks_of_its_own_names_alone() {
        let kept = [
            soa("example.org."),
            ns("org."),
            soa("mx.Example.org."),
            nsec("a.example.org."),
            signature("a.example.org.", RecordType::NSEC, "example.org."),
            signature("example.org.", RecordType::SOA, "example.org."),
        ];
        let dropped = [
            soa("example.net."),
            ns("a.mx.example.org."),
            nsec("b.example.org."),
            nsec("a.example.net."),
            signature("a.example.net.", RecordType::NSEC, "example.net."),
            nsec("c.example.org."),
            signature("c.example.org.", RecordType::NSEC, "c.example.org."),
            signature("c.example.org.", RecordType::A, "example.org."),
            address("mx.example.org."),
        ];
        let mut said = [&kept[..], &dropped[..]].concat();
        let of_signature = dropped[7].clone();
        assert_eq!(concerning(&name("mx.example.org."), &said), [&kept[..], &[of_signature][..]].concat());
        said.reverse();
        assert_eq!(concerning(&name("mx.example.org."), &said).len(), kept.len() + 1, "in any order");
    }

    #[test]
    fn answers_to_other_questions_are_dropped() {
        let mut message = Message::query();
        message.add_query(Query::query(name("mx.example."), RecordType::A));
        message.add_answers([address("MX.example."), address("b.example.")]);
        message.add_authorities([soa("example."), soa("a.example.")]);
        message.add_additionals([address("ns.")]);
        let response = DnsResponse::from_message(message.into_response()).unwrap();
        let scrubbed = scrub(&name("mx.example."), Ok(response)).unwrap();
        assert_eq!(scrubbed.answers, [address("mx.example.")]);
        assert_eq!(scrubbed.authorities, [soa("example.")]);
        assert!(scrubbed.additionals.is_empty());
    }

    #[test]
    fn denials_are_scrubbed_too() {
        let denial = |said: &[Record]| {
            let mut none = NoRecords::new(Query::query(name("mx.example."), RecordType::A), ResponseCode::NXDomain);
            none.authorities = Some(Arc::from(said));
            match scrub(&name("mx.example."), Err(NetError::Dns(DnsError::NoRecordsFound(none)))) {
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => none,
                other => panic!("{other:?}"),
            }
        };
        let none = denial(&[soa("a.example."), soa("example.")]);
        assert_eq!(none.authorities.as_deref(), Some(&[soa("example.")][..]));
        assert!(denial(&[soa("a.example.")]).authorities.is_none());
        assert_eq!(none.response_code, ResponseCode::NXDomain);
    }
}
