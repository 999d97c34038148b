"""A call-centre script: decide, record, respond, over gRPC.

    python decide.py --address 127.0.0.1:7070 --customer 12748
"""

import argparse
import importlib
import sys
import tempfile
import uuid
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
# Where the standard messages of protobuf are.
STANDARD = Path(protoc.__file__).parent / "_proto"
DEADLINE_SECONDS = 5


def stubs(directory):
    """Generates the client code from `proto/` and loads it."""
    files = sorted(str(path) for path in PROTO.glob("rapport/v1/*.proto"))
    paths = [f"--proto_path={PROTO}", f"--proto_path={STANDARD}"]
    if protoc.main(["protoc", *paths, f"--python_out={directory}", f"--grpc_python_out={directory}", *files]) != 0:
        raise SystemExit("generating the client code failed")
    sys.path.insert(0, directory)
    names = ["common_pb2", "customer_pb2", "customer_pb2_grpc", "decision_pb2", "decision_pb2_grpc", "event_pb2", "event_pb2_grpc"]
    return [importlib.import_module(f"rapport.v1.{name}") for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:7070")
    parser.add_argument("--customer", default="12748")
    parser.add_argument("--api-key", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run(args, *stubs(directory))


def run(args, common, customer, customer_grpc, decision, decision_grpc, event, event_grpc):
    how = {"timeout": DEADLINE_SECONDS}
    if args.api_key:
        how["metadata"] = [("x-api-key", args.api_key)]
    who = common.Identity(type="customer_id", value=args.customer)
    with grpc.insecure_channel(args.address) as channel:
        # what the customer did: the first event of an unknown one creates the customer
        call = event.Event(
            event_id=str(uuid.uuid4()),
            source="python-example",
            customer=event.CustomerEvent(identities=[who], type="call_started"),
        )
        recorded = event_grpc.EventServiceStub(channel).Record(event.RecordRequest(events=[call]), **how)
        print("recorded:", event.RecordStatus.Name(recorded.results[0].status))

        decisions = decision_grpc.DecisionServiceStub(channel)
        question = decision.DecideRequest(
            identities=[who],
            placements=[decision.PlacementRequest(placement="agent_desktop")],
            view=decision.VIEW_AGENT,
            consistency_token=recorded.consistency_token,
        )
        answer = decisions.Decide(question, **how)
        show("decided", answer)

        # the customer says no: what is next comes back in the same call
        presentation = answer.placements[0].presentations[0]
        decline = decision.RespondRequest(
            presentation_token=presentation.presentation_token,
            outcome=common.OUTCOME_TYPE_DECLINE,
            reason_code=presentation.agent.decline_reasons[0].code,
            view=decision.VIEW_AGENT,
            agent_id="ada",
        )
        following = decisions.Respond(decline, **how)
        print("declined:", presentation.offer, decline.reason_code)
        show("next", following.decision)

        view = customer_grpc.CustomerServiceStub(channel).GetCustomer(
            customer.GetCustomerRequest(identities=[who], consistency_token=following.consistency_token), **how
        )
        for contact in view.customer.interactions:
            outcomes = [common.OutcomeType.Name(outcome) for outcome in contact.outcomes]
            print("history:", contact.offer, contact.channel, *outcomes)


def show(what, answer):
    for placement in answer.placements:
        for presentation in placement.presentations:
            print(f"{what}: {presentation.rank} {presentation.offer}: {presentation.agent.talk_track}")


if __name__ == "__main__":
    main()
