"""What the charts show: samples taken every few seconds, and the series made of them."""
