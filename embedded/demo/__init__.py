"""The demo company: a made-up web shop whose data is a function of seed, scale and end date alone.

It stands in for a user's own sources and is simulated from end to end:

- PostgreSQL database `shop`: customers, products, orders, order_items (`people`, `catalogue`, `orders`,
`shop`);
- a REST service with exchange rates and product reviews (`rates`, `reviews`, `api`);
- an object-store inbox with one CSV of store invoices a trading day (`invoices`, `inbox`).

Every draw comes from a substream keyed by seed, subject and day (`draws`), so what happens on a day never
depends on how many days are generated, in which order, or in which process. What is dirty on purpose, and how
often, is said at the top of the module that makes it so.
"""
