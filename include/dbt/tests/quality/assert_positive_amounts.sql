{#- An order with nothing to pay is a mistake of the source: staging quarantines it. -#}
select *
from {{ ref('fct_orders') }}
where amount <= 0
