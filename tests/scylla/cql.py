"""CQL statements, as far as the stand-in must understand them: above all writes."""

from __future__ import annotations

from dataclasses import replace

from tests.scylla.statements import Change, Condition, Misunderstood, Term
from tests.scylla.tokens import END, Token, tokens_of, unquoted, without_extensions

_TERM_ENDS = frozenset(
    {
        "WHERE",
        "IF",
        "AND",
        "USING",
        "INSERT",
        "UPDATE",
        "DELETE",
        "APPLY",
        "LIMIT",
        "ALLOW",
        "ORDER",
        "FROM",
        "IN",
        "SET",
    }
)


_STATEMENTS = frozenset({"INSERT", "UPDATE", "DELETE", "APPLY"})


class Parser:
    """Reads one statement from the front.

    Args:
        text: the statement.
        keyspace: for names without one.
    """

    def __init__(self, text: str, keyspace: str) -> None:
        self.text = without_extensions(text).strip().rstrip(";").rstrip()
        self.tokens = tokens_of(self.text)
        self.at = 0
        self._keyspace = keyspace
        places = [at for at, token in enumerate(self.tokens) if token.kind == "marker"]
        self._markers = {at: number for number, at in enumerate(places)}

    def peek(self, ahead: int = 0) -> Token:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else END

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, *wanted: str) -> bool:
        """Pass over these words or signs if they come next."""
        if all(wanted[i] in (self.peek(i).word, self.peek(i).text) for i in range(len(wanted))):
            self.at += len(wanted)
            return True
        return False

    def expect(self, *wanted: str) -> None:
        if not self.accept(*wanted):
            raise Misunderstood(f"{' '.join(wanted)} expected before {self.peek().text!r}")

    def name(self) -> str:
        token = self.take()
        if token.kind not in ("word", "quoted"):
            raise Misunderstood(f"a name instead of {token.text!r}")
        return unquoted(token)

    def qualified(self) -> tuple[str, str]:
        first = self.name()
        return (first, self.name()) if self.accept(".") else (self._keyspace, first)

    def names(self) -> list[str]:
        """Names in brackets."""
        self.expect("(")
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        self.expect(")")
        return found

    def term(self) -> Term:
        """A value, up to whatever ends one."""
        start, depth = self.at, 0
        while (token := self.peek()) is not END:
            if depth == 0 and (token.text in (",", ")", ";", "]") or token.word in _TERM_ENDS):
                break
            depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
            self.at += 1
        if start == self.at:
            raise Misunderstood(f"a value before {self.peek().text!r}")
        text = self.text[self.tokens[start].start : self.tokens[self.at - 1].end]
        return Term(text, tuple(self._markers[at] for at in range(start, self.at) if at in self._markers))

    def terms(self) -> list[Term]:
        """Values in brackets."""
        self.expect("(")
        found = [self.term()]
        while self.accept(","):
            found.append(self.term())
        self.expect(")")
        return found

    def markers_before(self, at: int) -> int:
        return sum(place < at for place in self._markers)

    def changes(self) -> list[Change]:
        """The writes of a statement, several of a batch; empty for any other statement."""
        if not self.accept("BEGIN"):
            return [self._change()] if self.peek().word in ("INSERT", "UPDATE", "DELETE") else []
        self.accept("UNLOGGED") or self.accept("LOGGED") or self.accept("COUNTER")
        self.expect("BATCH")
        timestamp, _ = self._using()
        found = []
        while self.peek() is not END and not self.accept("APPLY"):
            change = self._change()
            found.append(replace(change, timestamp=change.timestamp or timestamp))
            self.accept(";")
        return found

    def _change(self) -> Change:
        verb, start = self.take().word.lower(), self.at
        if verb == "insert":
            self.expect("INTO")
        elif verb == "delete":
            while self.peek() is not END and self.peek().word != "FROM":
                self.at += 1
            self.expect("FROM")
        keyspace, table = self.qualified()
        change = Change(verb, keyspace, table)
        try:
            if verb == "insert":
                return self._insert(change)
            return self._update(change) if verb == "update" else self._delete(change, start)
        except Misunderstood as trouble:
            while self.peek() is not END and self.peek().word not in _STATEMENTS:
                self.at += 1
            return replace(change, trouble=str(trouble))

    def _insert(self, change: Change) -> Change:
        names = self.names()
        self.expect("VALUES")
        sets = dict(zip(names, self.terms(), strict=True))
        conditional = self.accept("IF", "NOT", "EXISTS")
        timestamp, ttl = self._using()
        return replace(change, sets=sets, conditional=conditional, timestamp=timestamp, ttl=ttl)

    def _update(self, change: Change) -> Change:
        timestamp, ttl = self._using()
        self.expect("SET")
        sets = {}
        while True:
            column = self.name()
            partly = self._element()
            self.expect("=")
            start = self.at
            term = self.term()
            partly |= any(unquoted(token) == column for token in self.tokens[start : self.at] if token.kind != "string")
            if not partly:
                sets[column] = term
            if not self.accept(","):
                break
        where, conditional = self._where()
        return replace(change, sets=sets, where=where, conditional=conditional, timestamp=timestamp, ttl=ttl)

    def _delete(self, change: Change, start: int) -> Change:
        end, self.at = self.at, start
        deletes, parts = [], self.peek().word != "FROM"
        while not self.accept("FROM"):
            column = self.name()
            if not self._element():
                deletes.append(column)
            self.accept(",")
        self.at = end
        timestamp, _ = self._using()
        where, conditional = self._where()
        return replace(
            change, deletes=tuple(deletes), parts=parts, where=where, conditional=conditional, timestamp=timestamp
        )

    def _element(self) -> bool:
        """Pass over ``[key]`` or ``.field``: a part of a column, of which the log names the row alone."""
        if self.accept("."):
            self.name()
            return True
        if not self.accept("["):
            return False
        self.term()
        self.expect("]")
        return True

    def _using(self) -> tuple[Term | None, Term | None]:
        """The terms of USING TIMESTAMP and TTL."""
        found: dict[str, Term] = {}
        if self.accept("USING"):
            while True:
                word = self.take().word
                found[word] = self.term()
                if not self.accept("AND"):
                    break
        return found.get("TIMESTAMP"), found.get("TTL")

    def _where(self) -> tuple[tuple[Condition, ...], bool]:
        """The conditions of WHERE, and whether IF comes after them."""
        self.expect("WHERE")
        found = self.conditions()
        conditional = self.peek().word == "IF"
        while self.peek() is not END and self.peek().text != ";" and self.peek().word not in _STATEMENTS:
            self.at += 1
        return found, conditional

    def conditions(self) -> tuple[Condition, ...]:
        """What comes after WHERE."""
        found = []
        while True:
            column, sign = self.name(), self.take()
            if sign.word == "IN":
                found.append(Condition(column, "IN", tuple(self.terms())))
            elif sign.text in ("=", "<", ">", "<=", ">="):
                found.append(Condition(column, sign.text, (self.term(),)))
            else:
                raise Misunderstood(f"the comparison {sign.text!r}")
            if not self.accept("AND"):
                return tuple(found)
