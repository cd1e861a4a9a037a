select total_clients, active_clients, prime_clients, longevity_clients, active_rate, generated_at
from get_client_dashboard_metrics()
