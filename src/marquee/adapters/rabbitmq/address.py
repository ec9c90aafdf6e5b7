"""Where RabbitMQ is, and its errors in our terms."""

import logging
import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import pika
from pika.exceptions import (
    AuthenticationError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from ...errors import NotMade, StoreAway, Unusable

QUEUE = "movie_rate_topic"
PORTS = {"amqp": 5672, "amqps": 5671}
OPTIONS = {"queue": QUEUE, "ca": "", "cert": "", "key": ""}
TLS = {"ca", "cert", "key"}
REFUSED = (AuthenticationError, ProbableAccessDeniedError, ProbableAuthenticationError)
NOT_FOUND, ACCESS_REFUSED = 404, 403

log = logging.getLogger(__name__)
logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it meets, callers are told


@dataclass(frozen=True)
class Address:
    """``amqp[s]://[user:password@]host[:port],…[/vhost][?queue=NAME&ca=FILE&cert=FILE&key=FILE]``:
    the nodes of one cluster, of which any will do."""

    nodes: tuple[pika.ConnectionParameters, ...]
    queue: str
    shown: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Raises ``Unusable`` where the URL is none."""
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        options = dict(parse_qsl(parts.query))
        if parts.scheme not in PORTS or not all(hosts.split(",")):
            raise Unusable("RabbitMQ must be amqp[s]://[USER:PASSWORD@]HOST[:PORT],…[/VHOST]")
        if unknown := sorted(options.keys() - OPTIONS.keys()):
            raise Unusable(f"amqp:// knows no {unknown[0]!r}: {', '.join(OPTIONS)}.")
        if parts.scheme == "amqp" and (needless := sorted(TLS & options.keys())):
            raise Unusable(f"{needless[0]}= goes with amqps:// alone.")
        options = OPTIONS | options
        user, _, password = (unquote(part) for part in login.partition(":"))
        try:
            places = [urlsplit(f"//{host}") for host in hosts.split(",")]
            nodes = tuple(
                pika.ConnectionParameters(
                    host=place.hostname,
                    port=place.port or PORTS[parts.scheme],
                    virtual_host=unquote(parts.path[1:]) or "/",
                    credentials=pika.PlainCredentials(user or "guest", password or "guest"),
                    ssl_options=tls(place.hostname, options) if parts.scheme == "amqps" else None,
                    heartbeat=10,
                    blocked_connection_timeout=30,
                    socket_timeout=5,
                    stack_timeout=5,
                )
                for place in places
            )
        except (OSError, ValueError) as error:
            raise Unusable(f"RabbitMQ's URL can't be used: {error}.") from error
        return cls(nodes, options["queue"], f"{parts.scheme}://{hosts}")

    def away(self, reason: BaseException | None) -> StoreAway:
        """What RabbitMQ can't do now, in our terms; its own words go to the log alone."""
        log.debug("RabbitMQ: %r", reason)
        code = reason.reply_code if isinstance(reason, ChannelClosedByBroker) else 0
        if code == NOT_FOUND:
            return NotMade(f"RabbitMQ has no queue {self.queue}: run `marquee migrate`.")
        if code == ACCESS_REFUSED or isinstance(reason, REFUSED):
            return StoreAway("RabbitMQ refuses us: check the user, the password and their rights.")
        return StoreAway("RabbitMQ can't be reached at present.")


def tls(host: str | None, options: dict[str, str]) -> pika.SSLOptions:
    context = ssl.create_default_context(cafile=options["ca"] or None)
    if options["cert"]:
        context.load_cert_chain(options["cert"], options["key"] or None)
    return pika.SSLOptions(context, host)
