"""Philips IntelliVue data export: frames, associations, polls and values, as bytes and as meaning; big-endian.

Source: *Philips IntelliVue Data Export Interface Programming Guide* (part no. 4535 642 59271) as retold in
PROTOCOLS.md section 1, with captures, field implementations and built frames. Unverified on hardware.

* `framing`: the envelope on the RS-232 (MIB) port.
* `fields`: reading numbers and lists from bytes of a length that must come out exactly.
* `association`: asking for an association, and what can be answered.
* `polls`: every request that may ever be sent, and whether a frame is one.
* `messages`: what the monitor sends, down to attribute lists; what is not on the list of attributes is dropped there.
* `values`: numbers, their states, samples and their scales.
* `objects`: what the objects of one association say; `streams` is what is remembered of each wave, and `naming` tells
  which channel a code is.
* `questions`: what is to be asked, and which question an answer belongs to; `answers` puts those in order and together.
* `identity`: what of all this may be written to a trace.

Whatever cannot be read raises `WireError` with one word for the counter: `truncated`, `length`, `byte_order`, `kind`.
"""
