"""Reads a table with pyarrow alone, lane by lane, and goes on where a stream breaks: flight_client.py URI NAMESPACE TABLE"""
import sys, time
import pyarrow as pa, pyarrow.flight as fl

PASSING = (fl.FlightUnavailableError, fl.FlightInternalError, fl.FlightCancelledError)

def varint(data, at):
    value = shift = 0
    while True:
        value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at

def metadata(data):
    """Number and content of the one field of a StreamMetadata."""
    tag, at = varint(data, 0)
    length, at = varint(data, at)
    return tag >> 3, data[at:at + length]

def lane(client, ticket, options=None):
    """The batches of a lane, each once; returns only behind the end record."""
    start, since, pause = b"", time.monotonic(), 0.05
    while True:
        try:
            for chunk in client.do_get(fl.Ticket(ticket.ticket + start), options):
                field, content = metadata(chunk.app_metadata.to_pybytes())
                if field == 2:  # end
                    return
                start = b"\x12" + bytes([len(content)]) + content  # Ticket.start; a position has less than 128 bytes
                if chunk.data.num_rows:
                    yield chunk.data
                    since, pause = time.monotonic(), 0.05
            error = "the stream ended without its end record"
        except PASSING as e:
            error = e
        if time.monotonic() - since > 60:
            raise RuntimeError(f"nothing for a minute: {error}")
        time.sleep(pause)
        pause = min(2 * pause, 2)

if __name__ == "__main__":
    client = fl.connect(sys.argv[1])
    info = client.get_flight_info(fl.FlightDescriptor.for_path(*sys.argv[2:]))
    batches = [batch for endpoint in info.endpoints for batch in lane(client, endpoint.ticket)]
    print(pa.Table.from_batches(batches, info.schema).num_rows)
