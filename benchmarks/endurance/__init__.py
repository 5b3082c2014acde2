"""Long and rough treatment of a whole service: churn, storms, restarts. Nothing may be lost."""
